//! An experiment that is changed between two commands.

use crate::support::{
    copy_of_finished, experiment, families, finished, finished_experiment, json, newest_checkpoint,
    run, scratch, snapshot, weights,
};
use std::fs;

/// Keys that decide weights: of the experiment, of one model's optimiser, of a family's network.
#[test]
fn a_run_that_would_train_otherwise_is_refused_by_the_key() {
    let out = copy_of_finished("refused");
    let before = snapshot(&out);
    let family = families()[0];
    let lr = format!("models.{family}.train.lr");
    for (key, value) in
        [("train.batch_size", "4"), ("train.budget.images", "480"), ("seed", "2"), (&lr, "0.1")]
    {
        let ended = run(&finished_experiment(), &out, &["--set", &format!("{key}={value}")]);
        let ended = ended.expect(2);
        ended.says(&[key.split('.').next_back().expect("a key"), "--fresh"]);
        assert_eq!(before, snapshot(&out), "{key} changed the run on disk");
    }
}

#[test]
fn fresh_starts_over() {
    let dir = scratch("fresh");
    let family = families()[0];
    let experiment = experiment(&dir, &[family], &[("train.budget.images", "48")]);
    let (out, model) = (dir.join("run"), dir.join("run").join(family));
    run(&experiment, &out, &[]).expect(0);
    let first = weights(&model);
    fs::write(out.join("left-over"), "").expect("a file");
    run(&experiment, &out, &["--seed", "7", "--fresh"]).expect(0);
    assert_ne!(weights(&model), first);
    assert_eq!(json(&out.join("manifest.json"))["seed"], 7);
    assert!(!out.join("left-over").exists());
}

/// A mistyped --out is not deleted.
#[test]
fn fresh_deletes_nothing_but_runs() {
    let dir = scratch("not-a-run");
    let experiment = experiment(&dir, &families()[..1], &[("train.budget.images", "48")]);
    let precious = dir.join("precious");
    fs::create_dir(&precious).expect("a folder");
    fs::write(precious.join("thesis.tex"), "years of work").expect("a file");
    let before = snapshot(&dir);
    for more in [&["--fresh"][..], &[]] {
        run(&experiment, &precious, more).expect(2).says(&["precious"]);
        assert_eq!(before, snapshot(&dir));
    }
}

#[test]
fn a_change_of_eval_scores_anew_and_trains_nothing() {
    let out = copy_of_finished("rescored");
    let before = snapshot(&out);
    let ended = run(&finished_experiment(), &out, &["--set", "eval.samples=16"]).expect(0);
    ended.says(&["eval.samples"]);
    let after = snapshot(&out);
    for family in families() {
        assert_eq!(weights(&out.join(family)), weights(&finished().join(family)));
        let of_model = |(path, _): &(&std::path::PathBuf, _)| path.starts_with(family);
        for (path, state) in before.iter().filter(of_model) {
            let path_text = path.to_string_lossy();
            let scored = path_text.contains("score") || path_text.contains("curve-points");
            let data = path.ends_with("data.json");
            assert!(scored || data || after[path] == *state, "{} was written", path.display());
        }
        let scores = json(&out.join(family).join("scores.json"));
        assert_eq!(scores["settings"]["eval"]["samples"], 16);
    }
    let old = &before[std::path::Path::new("comparison/results.json")].1;
    assert_ne!(&fs::read(out.join("comparison/results.json")).unwrap(), old);

    // Scores of other weights, and those that another device took.
    let path = out.join(families()[0]).join("scores.json");
    let scores = json(&path);
    for key in ["weights", "device"] {
        let mut others = scores.clone();
        others["settings"][key] = "other".into();
        fs::write(&path, others.to_string()).expect("scores");
        run(&finished_experiment(), &out, &["--set", "eval.samples=16"]).expect(0);
        assert_eq!(json(&path)["settings"], scores["settings"], "{key}");
    }
}

/// Other scores of the same samples: they are not drawn again.
#[test]
fn samples_are_drawn_once() {
    let out = copy_of_finished("redrawn");
    let before = snapshot(&out);
    run(&finished_experiment(), &out, &["--set", "eval.density_coverage_k=4"]).expect(0);
    let after = snapshot(&out);
    let is_drawn =
        |path: &&std::path::PathBuf| path.to_string_lossy().contains("scored-seed-0.safetensors");
    let drawn: Vec<_> = before.keys().filter(is_drawn).collect();
    assert_eq!(drawn.len(), families().len());
    assert!(drawn.iter().all(|path| before[*path] == after[*path]), "drawn again");
    for family in families() {
        let likelihood = std::path::Path::new(family).join("scores-likelihood.json");
        assert_eq!(before[&likelihood], after[&likelihood], "{family}: measured again");
    }
    run(&finished_experiment(), &out, &["--set", "eval.batch_size=5"]).expect(0);
    let again = snapshot(&out);
    assert!(drawn.iter().all(|path| after[*path].0 != again[*path].0), "not drawn again");
}

/// The file is the same, the images are not.
#[test]
fn a_run_on_other_images_is_refused() {
    let out = copy_of_finished("other-images");
    let manifest = out.join("manifest.json");
    let mut changed = json(&manifest);
    changed["data_hash"] = "0".repeat(64).into();
    fs::write(&manifest, changed.to_string()).expect("a manifest");
    let before = snapshot(&out);
    run(&finished_experiment(), &out, &[]).expect(2).says(&["no longer", "--fresh"]);
    assert_eq!(before, snapshot(&out));
}

#[test]
fn new_models_are_added_and_missing_ones_refused() {
    let dir = scratch("added");
    let two = &families()[..2];
    let changes = [("train.budget.images", "48"), ("data.test_images", "10")];
    let out = dir.join("run");
    run(&experiment(&dir, &two[..1], &changes), &out, &[]).expect(0);
    let first = snapshot(&out.join(two[0]).join("checkpoints"));
    run(&experiment(&dir, two, &changes), &out, &[]).expect(0);
    assert_eq!(snapshot(&out.join(two[0]).join("checkpoints")), first, "trained again");
    let results = json(&out.join("comparison/results.json"));
    assert_eq!(results["rows"].as_array().map(Vec::len), Some(2));
    // Fewer test images than samples: curves are of as many, and what depends on the number is not compared.
    assert_eq!(results["rows"][0]["curves"]["samples"], 10);
    let calibration = json(&out.join("calibration.json"));
    let reason = &calibration["rows"][0]["inception_score"]["Err"];
    assert_eq!(reason, "there are only 10 such images, not 24");
    let reason = &calibration["per_class"][0]["distance"]["Err"];
    assert_eq!(reason, "there are only 10 test images, not 24");
    let ended = run(&experiment(&dir, &two[..1], &changes), &out, &[]).expect(2);
    ended.says(&[two[1], "--fresh"]);
}

/// A step that moves nothing leaves the averaged weights of the model that training began with.
#[test]
fn training_begins_with_another_models_weights() {
    let dir = scratch("begun");
    let family = families()[0];
    let teacher = finished().join(family);
    let key = |key: &str| format!("models.{family}.train.{key}");
    let from = teacher.display().to_string();
    let still = [key("lr"), key("weight_decay"), key("from")];
    let changes = [(&*still[0], "1e-30"), (&*still[1], "0"), (&*still[2], &*from)];
    let budget = ("train.budget.images", "8");
    let path = experiment(&dir, &[family], &[&changes[..], &[budget]].concat());
    let out = dir.join("run");
    run(&path, &out, &[]).expect(0);
    let read = |model: &std::path::Path, file: &str| {
        let path = newest_checkpoint(model).join(file);
        let tensors = tch::Tensor::read_safetensors(path).expect("weights");
        tensors.into_iter().collect::<std::collections::BTreeMap<_, _>>()
    };
    let begun_with = read(&teacher, "ema.safetensors");
    let trained = read(&out.join(family), "model.safetensors");
    let state = read(&out.join(family), "optimizer.safetensors");
    let parameters: Vec<_> =
        state.keys().filter_map(|name| name.strip_prefix("exp_avg.")).collect();
    assert!(!parameters.is_empty());
    assert!(parameters.iter().all(|&name| trained[name].equal(&begun_with[name])));
    let row = &json(&out.join("comparison/results.json"))["rows"][0];
    assert!(row["train"]["budget"].as_str().expect("a budget").contains(&from), "{row}");

    // What is there is kept until it is sure that a new training can begin.
    let before = snapshot(&out);
    let lost = format!("{}=nowhere/model", still[2]);
    run(&path, &out, &["--fresh", "--set", &lost]).expect(2).says(&["nowhere/model"]);
    assert_eq!(before, snapshot(&out));

    // By its name, with room for two trainings at a time: the second waits for the first.
    let text = fs::read_to_string(&path).expect("an experiment");
    let mut root: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
    let mut teacher = root["models"][family].clone();
    teacher["train"] = serde_yaml::Mapping::new().into();
    root["models"][family]["train"]["from"] = "teacher".into();
    let student = root["models"][family].clone();
    let models: serde_yaml::Mapping =
        [("teacher".into(), teacher), (family.into(), student)].into_iter().collect();
    root["models"] = models.into();
    root["train"]["jobs"] = 2.into();
    let both = dir.join("both.yaml");
    fs::write(&both, serde_yaml::to_string(&root).expect("plain data")).expect("a file");
    run(&both, &dir.join("both"), &[]).expect(0);
    let begun_with = read(&dir.join("both/teacher"), "ema.safetensors");
    let trained = read(&dir.join("both").join(family), "model.safetensors");
    assert!(parameters.iter().all(|&name| trained[name].equal(&begun_with[name])));

    let refused = |value: &str, more: &[&str]| {
        let set = format!("{}={value}", still[2]);
        let ended = run(&path, &dir.join("refused"), &[&["--set", &set], more].concat());
        assert!(!dir.join("refused").exists());
        ended.expect(2)
    };
    refused("nowhere/model", &[]).says(&["cannot begin with nowhere/model"]);
    refused(&from, &["--set", "data.condition=none"]).says(&["other data"]);
}
