//! What goes wrong is named, and leaves what went right alone.

use crate::{
    logs::check_metrics,
    support::{
        copy_of_finished, experiment, families, finished_experiment, json, newest_checkpoint,
        paragone, run, scratch, snapshot,
    },
};
use std::fs;

/// The others go on, and the comparison says what is missing.
#[test]
fn a_loss_that_is_not_finite_stops_its_model_only() {
    let dir = scratch("diverged");
    let (bad, good) = (families()[0], families()[1]);
    let lr = format!("models.{bad}.train.lr");
    let warmup = format!("models.{bad}.train.warmup");
    let changes =
        [(&*lr, "1.0e+30"), (&*warmup, "0.0"), ("train.checkpoint_every", "{ share: 0.02 }")];
    let experiment = experiment(&dir, &[bad, good], &changes);
    let out = dir.join("run");
    for _ in 0..2 {
        let ended = run(&experiment, &out, &[]).expect(1);
        let failure = json(&out.join(bad).join("failure.json"));
        let step = failure["step"].as_u64().expect("a step");
        assert!(step < 50, "{failure}");
        ended.says(&[bad, "not finite", &format!("step {step}")]);
        let model = paragone::families::find(bad).expect("a family");
        let phase = phase_name(model);
        ended.says(&[&phase]);
        assert!(!out.join(bad).join("summary.json").exists());
        assert!(out.join(good).join("summary.json").exists());
        assert_eq!(check_metrics(&out.join(good)).last(), Some(&50));
        let results = json(&out.join("comparison/results.json"));
        let rows = results["rows"].as_array().expect("rows");
        assert!(rows.iter().any(|row| row["model"] == good), "{rows:?}");
        assert!(rows.iter().all(|row| row["model"] != bad), "{rows:?}");
        // What was saved is finite.
        let checkpoints = out.join(bad).join("checkpoints");
        for path in fs::read_dir(&checkpoints).into_iter().flatten() {
            let path = path.expect("an entry").path().join("model.safetensors");
            for (name, tensor) in tch::Tensor::read_safetensors(&path).expect("safetensors") {
                assert_eq!(tensor.isfinite().all().int64_value(&[]), 1, "{name} in {path:?}");
            }
        }
    }
}

/// Name of a family's first phase.
fn phase_name(entry: &paragone::families::Entry) -> String {
    let shape = paragone_core::ImageShape { channels: 3, height: 16, width: 16 };
    let data = paragone_core::DataSpec {
        shape,
        num_classes: 2,
        text: None,
        known_pixels: false,
        mean: 0.0,
        std: 1.0,
    };
    let vars = tch::nn::VarStore::new(tch::Device::Cpu);
    let model = (entry.tiny)().build(&data, vars.root()).expect("a tiny model");
    model.phases()[0].name.to_owned()
}

/// Dotted keys of an experiment with their new values.
type Changes<'a> = &'a [(&'a str, &'a str)];

/// Before anything is built or written; with file, line and column, or the `--set`.
#[test]
fn a_wrong_experiment_is_refused_with_its_place() {
    let dir = scratch("wrong");
    let family = families()[0];
    let unknown = format!("models.{family}.no_such_key");
    let phase = format!("models.{family}.train.phases.no_such_phase.lr");
    let cases: [(Changes, &[&str]); 18] = [
        (&[(&phase, "0.1")], &["experiment.yaml:", "no_such_phase"]),
        (&[("eval.density_coverage_k", "24")], &["experiment.yaml:", "density_coverage_k"]),
        (&[("eval.reference", "[validation]")], &["experiment.yaml:", "data.validation"]),
        (
            &[("eval.features", "{ inception: absent.pth }")],
            &["experiment.yaml:", "eval.features.inception", "cannot read absent.pth"],
        ),
        (&[("train.batch_sise", "8")], &["experiment.yaml:", "batch_sise", "batch_size"]),
        (&[(&unknown, "1")], &["experiment.yaml:", "no_such_key"]),
        (&[("data.dataset", "shaped")], &["experiment.yaml:", "shaped", "shapes"]),
        (&[("train.budget", "{ images: 1, seconds: 2 }")], &["experiment.yaml:", "budget"]),
        (&[("models.extra", "{ family: vea }")], &["experiment.yaml:", "vea", "vae"]),
        (&[("train.batch_size", "0")], &["experiment.yaml:", "batch_size", "at least 1"]),
        (&[("train.threads", "3000000000")], &["experiment.yaml:", "threads", "1024"]),
        (&[("data.test_images", "3")], &["there are 3 test images", "at least 6"]),
        (&[("eval.samples", "2")], &["experiment.yaml:", "eval.samples", "at least 3"]),
        (&[("eval.curves.samples", "3")], &["experiment.yaml:", "curves.samples", "above 3"]),
        (&[("eval.editing", "{ pairs: 1, strengths: [2] }")], &["experiment.yaml:", "strengths"]),
        (&[("eval.inpainting", "{ images: 1, masks: [] }")], &["experiment.yaml:", "masks"]),
        (
            &[("eval.editing", "{ pairs: 2, kinds: [recolour] }")],
            &["experiment.yaml:", "eval.editing.pairs", "can be told of"],
        ),
        (
            &[("data.size", "32"), ("eval.editing", "{ pairs: 2 }")],
            &["experiment.yaml:", "eval.editing.pairs", "no network can judge"],
        ),
    ];
    for (changes, says) in cases {
        let experiment = experiment(&dir, &[family], changes);
        run(&experiment, &dir.join("run"), &[]).expect(2).says(says);
        assert!(!dir.join("run").exists(), "{changes:?} wrote something");
    }
    let good = experiment(&dir, &[family], &[]);
    let refused = |more: &[&str], says: &[&str]| {
        run(&good, &dir.join("run"), more).expect(2).says(says);
        assert!(!dir.join("run").exists(), "{more:?} wrote something");
    };
    refused(&["--set", "train.budget.image=5"], &["--set", "image"]);
    refused(&["--set", "nonsense"], &["nonsense"]);
    refused(&["--device", "abacus"], &["abacus", "cpu"]);
    run(&dir.join("absent.yaml"), &dir.join("run"), &[]).expect(2).says(&["absent.yaml"]);
    fs::write(dir.join("torn.yaml"), "name: [unclosed\nmodels: {").expect("a file");
    run(&dir.join("torn.yaml"), &dir.join("run"), &[]).expect(2).says(&["torn.yaml"]);
    assert!(!dir.join("run").exists());
}

/// It is named, and neither replaced nor trained over.
#[test]
fn a_damaged_checkpoint_is_named() {
    let out = copy_of_finished("damaged");
    let model = out.join(families()[0]);
    let path = newest_checkpoint(&model).join("ema.safetensors");
    let bytes = fs::read(&path).expect("a checkpoint");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("a damaged file");
    let before = snapshot(&model.join("checkpoints"));
    let sample = ["sample", &model.display().to_string(), "--out", "never.png"].map(str::to_owned);
    paragone(&sample).expect(2).says(&["ema.safetensors"]);
    assert!(!std::path::Path::new("never.png").exists());

    // The same while scoring.
    fs::remove_file(model.join("scores.json")).expect("scores");
    run(&finished_experiment(), &out, &[]).expect(2).says(&["ema.safetensors"]);

    // The same while training: a run that would continue from it.
    fs::remove_file(model.join("summary.json")).expect("a finished model");
    let model_file = newest_checkpoint(&model).join("model.safetensors");
    let bytes = fs::read(&model_file).expect("a checkpoint");
    fs::write(&model_file, &bytes[..100]).expect("a damaged file");
    run(&finished_experiment(), &out, &[]).expect(2).says(&["model.safetensors"]);
    let after = snapshot(&model.join("checkpoints"));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
}
