//! Stops of every kind: kill, Ctrl-C, the end of the parent. The same command continues.

use crate::{
    logs::{check_events, check_metrics},
    support::{
        Running, contents, entries, experiment, families, finished, finished_experiment, is_idle,
        json, logged, newest_checkpoint, run, scratch, wait_for, weights,
    },
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const LIMIT: Duration = Duration::from_secs(120);
/// A budget that no test waits for the end of.
const ENDLESS: (&str, &str) = ("train.budget.images", "4000000");

/// Every model is killed twice at random moments of its training, with everything the program has started.
#[test]
fn a_killed_run_ends_with_the_same_weights() {
    let out = scratch("killed").join("run");
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let mut moments = Moments(seed);
    let mut killed_in_training = BTreeSet::new();
    for family in families() {
        let model = out.join(family);
        for _ in 0..2 {
            let mut running = Running::start(&finished_experiment(), &out, &[]);
            let before = logged(&model);
            // A resumed training cuts its log back first, so any change is a sign of life.
            wait_for(family, LIMIT, || logged(&model) != before || running.ended());
            std::thread::sleep(moments.next(Duration::from_millis(300)));
            if !model.join("summary.json").exists() {
                killed_in_training.insert(family);
            }
            if !running.ended() {
                running.signal_all("KILL");
            }
            running.wait(LIMIT);
            wait_for("the lock", LIMIT, || is_idle(&model));
        }
    }
    let missed: Vec<_> =
        families().into_iter().filter(|f| !killed_in_training.contains(f)).collect();
    assert!(missed.is_empty(), "{missed:?} ended before a kill (moments from {seed})");

    run(&finished_experiment(), &out, &[]).expect(0);
    for family in families() {
        let (model, uninterrupted) = (out.join(family), finished().join(family));
        for (part, bytes) in weights(&model) {
            let same = weights(&uninterrupted)[&part] == bytes;
            assert!(same, "{family}: {part}.safetensors differs (moments from {seed})");
        }
        let steps = check_metrics(&model);
        assert_eq!(steps.last(), Some(&50), "{family}: {steps:?}");
        check_events(&model);
        assert_eq!(contents(&model.join("samples")), contents(&uninterrupted.join("samples")));
        let (scores, want) =
            (json(&model.join("scores.json")), json(&uninterrupted.join("scores.json")));
        assert_eq!(scores["splits"], want["splits"], "{family}");
        assert_eq!(scores["likelihood"], want["likelihood"], "{family}");
        assert_eq!(names(&model), names(&uninterrupted), "{family} (moments from {seed})");
        assert_eq!(names(&model.join("checkpoints")), names(&uninterrupted.join("checkpoints")));
    }
}

/// As from a terminal: every process gets the signal.
#[test]
fn ctrl_c_saves_and_the_same_command_continues() {
    let dir = scratch("ctrl-c");
    let family = families()[0];
    let experiment = experiment(&dir, &families()[..2], &[ENDLESS, NEVER_SAVE, NEVER_DRAW]);
    let (out, model) = (dir.join("run"), dir.join("run").join(family));
    let mut step = 0;
    for _ in 0..2 {
        let running = Running::start(&experiment, &out, &[]);
        let before = logged(&model);
        wait_for("training", LIMIT, || logged(&model) > before + 2);
        running.signal_all("INT");
        let ended = running.wait(Duration::from_secs(30)).expect(130);
        ended.says(&["the same command continues"]);
        let saved = json(&newest_checkpoint(&model).join("state.json"));
        let saved = saved["step"].as_u64().expect("a step");
        assert!(saved > step, "saved at step {saved} after {step}");
        // Nothing of what was done is lost.
        assert_eq!(check_metrics(&model).last(), Some(&saved));
        check_events(&model);
        assert!(is_idle(&model) && !model.join("summary.json").exists());
        step = saved;
    }
    assert!(!out.join(families()[1]).join("plan.json").exists(), "the next model was begun");
}

/// As from a service manager: only the parent gets the signal.
#[test]
fn terminating_the_parent_stops_its_training_too() {
    let dir = scratch("terminated");
    let family = families()[0];
    let experiment = experiment(&dir, &[family], &[ENDLESS, NEVER_SAVE, NEVER_DRAW]);
    let (out, model) = (dir.join("run"), dir.join("run").join(family));
    let running = Running::start(&experiment, &out, &[]);
    wait_for("training", LIMIT, || logged(&model) > 2);
    running.signal_parent("TERM");
    running.wait(Duration::from_secs(30)).expect(130);
    wait_for("the end of training", Duration::from_secs(30), || is_idle(&model));
    let saved = json(&newest_checkpoint(&model).join("state.json"));
    assert_eq!(check_metrics(&model).last(), saved["step"].as_u64().as_ref());
}

#[test]
fn killing_the_parent_leaves_no_training_behind() {
    let dir = scratch("orphan");
    let family = families()[0];
    let experiment = experiment(&dir, &[family], &[ENDLESS, NEVER_SAVE, NEVER_DRAW]);
    let (out, model) = (dir.join("run"), dir.join("run").join(family));
    let running = Running::start(&experiment, &out, &[]);
    wait_for("training", LIMIT, || logged(&model) > 2);
    running.signal_parent("KILL");
    running.wait(Duration::from_secs(30));
    wait_for("the end of training", Duration::from_secs(30), || is_idle(&model));
    let lines = logged(&model);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(logged(&model), lines, "something still trains");
    assert!(newest_checkpoint(&model).is_dir());
}

/// It trains no other model of the run meanwhile and deletes nothing; the first goes on as if nothing had happened.
#[test]
fn a_second_command_on_the_same_run_is_refused() {
    let dir = scratch("twice");
    let [family, next] = [families()[0], families()[1]];
    let experiment = experiment(&dir, &[family, next], &[ENDLESS, NEVER_DRAW]);
    let (out, model) = (dir.join("run"), dir.join("run").join(family));
    let first = Running::start(&experiment, &out, &[]);
    wait_for("training", LIMIT, || logged(&model) > 2);
    for more in [&[][..], &["--fresh"]] {
        let second =
            Running::start(&experiment, &out, more).wait(Duration::from_secs(60)).expect(2);
        second.says(&["another process is at work in", &out.display().to_string()]);
        assert!(!out.join(next).join("plan.json").exists(), "{more:?} began the next model");
        let lines = logged(&model);
        wait_for("training goes on", LIMIT, || logged(&model) > lines + 2);
    }
    first.signal_all("INT");
    first.wait(Duration::from_secs(30)).expect(130);
    let saved = json(&newest_checkpoint(&model).join("state.json"));
    assert_eq!(check_metrics(&model).last(), saved["step"].as_u64().as_ref());
}

/// What a kill leaves of a run that has hardly begun.
#[test]
fn a_run_killed_in_its_first_moments_is_continued() {
    let dir = scratch("first-moments");
    let family = families()[0];
    let experiment = experiment(&dir, &[family], &[ENDLESS, NEVER_DRAW]);
    let out = dir.join("run");
    fs::create_dir_all(&out).expect("a folder");
    fs::write(out.join("lock"), "").expect("a lock");
    fs::write(out.join(".experiment.yaml.tmp-1"), "name: fi").expect("a part of a file");
    let first = Running::start(&experiment, &out, &[]);
    wait_for("training", LIMIT, || logged(&out.join(family)) > 0);
    first.signal_all("KILL");
    first.wait(LIMIT);
    wait_for("the lock", LIMIT, || is_idle(&out.join(family)));
    assert!(!out.join(".experiment.yaml.tmp-1").exists());

    for file in ["manifest.json", &format!("{family}/data.json")] {
        fs::remove_file(out.join(file)).expect("a file of the run");
    }
    let lines = logged(&out.join(family));
    let second = Running::start(&experiment, &out, &[]);
    wait_for("training goes on", LIMIT, || logged(&out.join(family)) > lines);
    assert!(out.join("manifest.json").is_file());
    second.signal_all("INT");
    second.wait(LIMIT).expect(130);
}

const NEVER_SAVE: (&str, &str) = ("train.checkpoint_every", "{ seconds: 100000 }");
const NEVER_DRAW: (&str, &str) = ("train.sample_every", "{ seconds: 100000 }");

/// Names of what is in a folder; event files, of which every sitting has one, count as one.
fn names(dir: &Path) -> BTreeSet<PathBuf> {
    let name = |path: PathBuf| {
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if name.starts_with("events.out") { "events.out".into() } else { name.into() }
    };
    entries(dir).into_iter().map(name).collect()
}

/// Random durations (SplitMix64), so that every run of the test kills at other moments.
struct Moments(u64);

impl Moments {
    fn next(&mut self, most: Duration) -> Duration {
        self.0 = paragone_core::mix(&[self.0, 1]);
        most.mul_f64((self.0 >> 11) as f64 / (1u64 << 53) as f64)
    }
}
