//! The other commands, on a finished run.

use crate::support::{
    Ended, cache, contents, copy_of_finished, families, finished, json, paragone, picture, scratch,
    snapshot,
};
use std::{fs, path::Path};
use tch::{CModule, Device, Kind, Tensor};

#[test]
fn sample_draws_the_same_images_for_the_same_seeds() {
    let dir = scratch("sample");
    for family in families() {
        let model = finished().join(family);
        let draw = |name: &str, more: &[&str]| {
            let out = dir.join(format!("{family}-{name}.png"));
            go(
                "sample",
                &model,
                &[&["-n", "6", "--columns", "3", "--out", &text(&out)], more].concat(),
            )
            .expect(0);
            let (width, height) = picture(&out);
            assert!(width >= 3 * 16 && height >= 2 * 16, "{width}x{height}");
            fs::read(&out).expect("a picture")
        };
        let first = draw("a", &[]);
        assert_eq!(first, draw("b", &[]), "{family}: the same command drew other images");
        assert_ne!(first, draw("c", &["--seed", "100"]), "{family}: other seeds, same images");
        assert_ne!(first, draw("d", &["--unconditional"]), "{family}: no class, same images");
        let named = json(&finished().join("manifest.json"))["class_names"][1].clone();
        let named = named.as_str().expect("a class name").to_owned();
        assert_eq!(draw("e", &["--class", &named]), draw("f", &["--class", "1"]), "{family}");
        // Each image in a file of its own, in the model's size.
        let folder = dir.join(format!("{family}-images"));
        assert_eq!(
            draw("g", &["--seed", "7", "--images", &text(&folder)]),
            draw("h", &["--seed", "7"])
        );
        let names: Vec<_> = contents(&folder).into_iter().collect();
        assert_eq!(names.len(), 6, "{names:?}");
        let bytes: std::collections::BTreeSet<_> = (7..13)
            .map(|seed| {
                let path = folder.join(format!("seed-{seed}.png"));
                assert_eq!(picture(&path), (16, 16));
                fs::read(path).expect("an image")
            })
            .collect();
        assert!(bytes.len() > 1, "{family}: all images are the same");
    }
}

#[test]
fn sample_says_what_is_wrong() {
    let dir = scratch("sample-wrong");
    let model = finished().join(families()[0]);
    let out = text(&dir.join("never.png"));
    let refused = |model: &Path, more: &[&str], says: &[&str]| {
        go("sample", model, &[&["--out", &out], more].concat()).expect(2).says(says);
        assert!(!dir.join("never.png").exists());
    };
    refused(&model, &["--class", "unicorn"], &["unicorn"]);
    refused(&model, &["-n", "0"], &["--n"]);
    refused(&model, &["--set", "no_such_key=1"], &["no_such_key"]);
    refused(&model, &["--class", "1", "--unconditional"], &["--unconditional"]);
    refused(&model, &["-n", "many"], &["many"]);
    refused(&model, &["--temperature", "-1"], &["temperature is -1"]);
    refused(&model, &["--guidance-scale", "inf"], &["guidance_scale is inf"]);
    refused(&finished().join("unknown"), &[], &["unknown", families()[0]]);
    refused(&dir, &[], &["no model of a run"]);
    // A key on which weights depend: the run was trained with another.
    let latent = "train.lr=0.5";
    let ended = go("sample", &model, &["--set", latent, "--out", &out]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[test]
fn eval_scores_again() {
    let out = copy_of_finished("eval");
    let before = snapshot(&out);
    let to = out.with_file_name("scores");
    go("eval", &out, &["--set", "eval.seeds=[0, 1]", "--out", &text(&to)]).expect(0);
    for family in families() {
        let scores = json(&out.join(family).join("scores.json"));
        assert_eq!(scores["settings"]["eval"]["seeds"], serde_json::json!([0, 1]));
        let written = snapshot(&out.join(family).join("checkpoints"));
        let trained = |path: &std::path::PathBuf| Path::new(family).join("checkpoints").join(path);
        assert!(written.iter().all(|(path, state)| before[&trained(path)] == *state), "{family}");
    }
    assert!(to.join("results.json").is_file() && to.join("grid.png").is_file());
    let refused = go("eval", &out, &["--set", "train.batch_size=4"]).expect(2);
    refused.says(&["train.batch_size"]);
    go("eval", &out.join("comparison"), &[]).expect(2).says(&["experiment.yaml"]);
}

#[test]
fn eval_takes_features_with_a_network_from_a_file() {
    let out = copy_of_finished("eval-torchscript");
    let before = snapshot(&out);
    let path = out.with_file_name("mean.pt");
    let example = [Tensor::zeros([1, 3, 8, 8], (Kind::Float, Device::Cpu))];
    let mut mean = |x: &[Tensor]| vec![x[0].mean_dim([2i64].as_slice(), false, None).flatten(1, 2)];
    let module = CModule::create_by_tracing("Mean", "forward", &example, &mut mean);
    module.and_then(|module| module.save(&path)).expect("a module");
    let features = |path: &Path| {
        let path = text(path);
        format!(
            "eval.features.torchscript={{ path: {path}, size: 8, mean: [0, 0, 0], std: [1, 1, 1] }}"
        )
    };
    let to = out.with_file_name("scores");
    go("eval", &out, &["--set", &features(&path), "--out", &text(&to)]).expect(0);
    let protocol = &json(&to.join("results.json"))["protocol"]["test"];
    let name = "torchscript/mean (8 px, mean [0.0, 0.0, 0.0], std [1.0, 1.0, 1.0])";
    assert_eq!(protocol["features"], name, "{protocol}");
    // For likelihood no features are asked, nor for most families how images are drawn.
    let sampler = "models.diffusion.sampler.steps=3";
    go("eval", &out, &["--set", sampler, "--out", &text(&to)]).expect(0);
    let after = snapshot(&out);
    for family in families() {
        let likelihood = Path::new(family).join("scores-likelihood.json");
        assert_eq!(before[&likelihood], after[&likelihood], "{family}: measured again");
    }

    fs::write(&path, "no module").expect("a file");
    let refused = go("eval", &out, &["--set", &features(&path)]).expect(2);
    refused.says(&["--set", "eval.features.torchscript", "mean.pt does not hold"]);
}

#[test]
fn compare_lays_runs_side_by_side() {
    let dir = scratch("compare");
    let other = copy_of_finished("compare-other");
    let runs = [text(finished()), text(&other)];
    let out = text(&dir.join("both"));
    paragone(&["compare", &runs[0], &runs[1], "--out", &out]).expect(0);
    let results = json(&dir.join("both/results.json"));
    assert_eq!(results["rows"].as_array().map(Vec::len), Some(2 * families().len()));
    let scores = &results["rows"][0]["scores"];
    assert!(scores["frechet_distance_infinity_error"]["train"]["value"].is_f64(), "{scores}");
    let (_, height) = picture(&dir.join("both/grid.png"));
    let (_, alone) = picture(&finished().join("comparison/grid.png"));
    assert!(height > alone + 16 * families().len() as u32, "{height} of {alone}");

    // Trained on other images, or scored otherwise: the scores mean something else.
    let change = |file: &str, from: &str, to: &str| {
        let path = other.join(file);
        let before = fs::read_to_string(&path).expect("a file");
        assert!(before.contains(from), "{from} in {before}");
        fs::write(&path, before.replace(from, to)).expect("a changed file");
        move || fs::write(path, before).expect("the file as it was")
    };
    let refused = |says: &str| {
        let never = text(&dir.join("never"));
        paragone(&["compare", &runs[0], &runs[1], "--out", &never]).expect(2).says(&[says]);
        assert!(!dir.join("never").exists());
    };
    let restore = change("experiment.yaml", "flip: false", "flip: true");
    refused("flip is false against true");
    restore();
    let scores = format!("{}/scores.json", families()[0]);
    let [four, eight] = [4, 8].map(|images| format!("\"likelihood_images\": {images}"));
    let restore_scores = change(&scores, &four, &eight);
    let restore = change("experiment.yaml", "likelihood_images: 4", "likelihood_images: 8");
    refused("likelihood_images is 8 against 4");
    restore();

    // Scored under other settings than its run has, as after a stop in between: not what the run says it is.
    paragone(&["compare", &runs[0], &runs[1], "--out", &out]).expect(0).says(&[
        families()[0],
        "scored under other settings",
        "paragone eval",
    ]);
    let results = json(&dir.join("both/results.json"));
    assert_eq!(results["rows"].as_array().map(Vec::len), Some(2 * families().len() - 1));
    restore_scores();

    // Another training set.
    let manifest = other.join("manifest.json");
    let mut changed = json(&manifest);
    changed["data_hash"] = "0".repeat(64).into();
    fs::write(&manifest, changed.to_string()).expect("a manifest");
    let refused = paragone(&["compare", &runs[0], &runs[1], "--out", &text(&dir.join("never"))]);
    refused.expect(2).says(&["different images"]);
    assert!(!dir.join("never").exists());
    let apart = text(&dir.join("apart"));
    paragone(&["compare", &runs[0], &runs[1], "--allow-mismatch", "--out", &apart]).expect(0);
    for group in ["apart-1", "apart-2"] {
        let results = json(&dir.join("apart").join(group).join("results.json"));
        assert_eq!(results["rows"].as_array().map(Vec::len), Some(families().len()));
    }
    paragone(&["compare", &text(&dir), "--out", &out]).expect(2).says(&["experiment.yaml"]);
}

/// What a run kept, scored as anyone's images: the same scores as the run's.
#[test]
fn score_takes_any_images() {
    let dir = scratch("score");
    let model = finished().join(families()[0]);
    let samples = text(&model.join("scored-seed-0.safetensors"));
    let out = dir.join("scores.json");
    let size = ["--reference", "shapes", "--size", "16", "--features", "random-conv"];
    let score =
        |samples: &str, more: &[&str]| paragone(&[&["score", "--samples", samples], more].concat());
    score(&samples, &[&size[..], &["--out", &text(&out)]].concat()).expect(0);
    let scored = json(&out);
    assert_eq!(scored["protocol"]["samples"], 24);
    assert_eq!(scored["protocol"]["reference_split"], "train");
    assert!(scored["test_set"]["frechet_distance"].as_f64().is_some(), "{scored}");
    // Features of the reference are kept for the next time.
    let hash = |key: &str| scored["protocol"][key].as_str().expect("a hash").to_owned();
    let file = format!("{}-{}-v1.safetensors", hash("features_hash"), hash("reference_hash"));
    assert!(cache().join("features").join(file).is_file());

    // Against itself nothing is missing.
    score(&samples, &["--reference", &samples, "--out", &text(&out)]).expect(0);
    let scored = json(&out);
    assert!(scored["scores"]["frechet_distance"].as_f64().is_some_and(|fd| fd < 1e-6), "{scored}");
    assert_eq!(scored["scores"]["precision"], 1.0);

    score(&samples, &["--reference", "shape"]).expect(2).says(&["shape is no file", "shapes"]);
    score("none", &size).expect(2).says(&["none: there is no such file"]);
    let wrong = ["--reference", &samples, "--features", "classifier"];
    score(&samples, &wrong).expect(2).says(&["--features classifier", "random-conv"]);
}

#[test]
fn trajectory_draws_what_a_model_can_show() {
    let dir = scratch("trajectory");
    let mut drawn = 0;
    for family in families() {
        let out = dir.join(family);
        let more = ["--out", &text(&out), "-n", "2", "--frames", "5"];
        go("trajectory", &finished().join(family), &more).expect(0);
        for strip in contents(&out).into_keys() {
            let (width, height) = picture(&out.join(&strip));
            assert!(width >= 4 * 16 && height >= 2 * 16, "{}: {width}x{height}", strip.display());
            drawn += 1;
        }
    }
    assert!(drawn >= families().len(), "{drawn} strips in all");
    let refused = go("trajectory", &finished().join(families()[0]), &["--frames", "1"]);
    refused.expect(2).says(&["--frames"]);
}

#[test]
fn data_is_listed_and_shown() {
    let dir = scratch("data");
    let list = paragone(&["data", "list"]).expect(0).stdout;
    for name in ["shapes", "fashion-mnist", "mnist", "cifar10"] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{name} is not in:\n{list}");
    }
    let sheet = dir.join("shapes.png");
    paragone(&["data", "show", "shapes", "--size", "16", "--out", &text(&sheet)]).expect(0);
    picture(&sheet);
    let never = text(&dir.join("never.png"));
    let unknown = paragone(&["data", "show", "shaped", "--out", &never]).expect(2);
    unknown.says(&["shaped", "shapes"]);
    let absent = paragone(&["data", "show", "fashion-mnist", "--out", &never]).expect(2);
    absent.says(&["paragone data fetch fashion-mnist"]);
    paragone(&["data", "fetch", "no-such-dataset"]).expect(2).says(&["no-such-dataset"]);
    assert!(!dir.join("never.png").exists());
}

#[test]
fn families_and_schema_say_what_there_is() {
    let list = paragone(&["families"]).expect(0).stdout;
    let schema = paragone(&["schema"]).expect(0).stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
    assert!(schema["properties"]["train"].is_object(), "{schema}");
    for family in families() {
        let line = list.lines().find(|line| line.starts_with(family));
        assert!(line.is_some_and(|line| line.len() > family.len() + 20), "{family} in:\n{list}");
        let options = paragone(&["families", family]).expect(0).stdout;
        let entry = paragone::families::find(family).expect("a family");
        for key in (entry.default)().to_value().as_mapping().expect("a section").keys() {
            let key = format!("{}:", key.as_str().expect("a key"));
            assert!(options.lines().any(|line| line.starts_with(&key)), "{key} in:\n{options}");
        }
        assert!(schema.to_string().contains(&format!("\"{family}\"")), "{family} in the schema");
    }
    paragone(&["families", "vea"]).expect(2).says(&["vea", families()[0]]);
}

#[test]
fn wrong_arguments_are_wrong_input() {
    for (args, says) in [
        (&["rum"][..], "run"),
        (&["run"], "EXPERIMENT"),
        (&["compare"], "RUNS"),
        (&["sample"], "MODEL"),
        (&["run", "x.yaml", "--no-such-flag"], "--no-such-flag"),
        (&["eval", "no-such-run"], "no-such-run"),
        (&["train", "no-such-run", "--model", "x"], "no-such-run"),
    ] {
        paragone(args).expect(2).says(&[says]);
    }
    let help = paragone(&["--help"]).expect(0).stdout;
    for command in ["run", "train", "eval", "sample", "compare", "trajectory", "data", "families"] {
        assert!(help.lines().any(|line| line.trim().starts_with(command)), "{command}:\n{help}");
    }
}

fn go(command: &str, target: &Path, more: &[&str]) -> Ended {
    let target = text(target);
    paragone(&[&[command, &target], more].concat())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
