//! A run to its end, and the files it leaves.

use crate::support::{
    contents, copy_of_finished, entries, families, finished, finished_experiment, json,
    newest_checkpoint, picture, run, scratch, snapshot, weights,
};
use std::{fs, path::Path};

#[test]
fn a_run_leaves_its_files() {
    let out = finished();
    for file in
        ["experiment.yaml", "manifest.json", "comparison/results.json", "comparison/report.html"]
    {
        assert!(out.join(file).is_file(), "no {file}");
    }
    let manifest = json(&out.join("manifest.json"));
    for key in ["libtorch", "threads", "seed", "data_hash", "order_hash", "class_names"] {
        assert!(!manifest[key].is_null(), "no {key} in {manifest}");
    }
    for family in families() {
        let model = out.join(family);
        let plan = json(&model.join("plan.json"));
        assert_eq!((plan["steps"].as_u64(), plan["batch_size"].as_u64()), (Some(50), Some(8)));
        assert_eq!(json(&model.join("data.json"))["shape"]["height"], 16);
        let checkpoints = entries(&model.join("checkpoints"));
        assert_eq!(checkpoints.len(), 2, "{checkpoints:?}");
        assert!(newest_checkpoint(&model).ends_with("step-50"));
        let state = json(&newest_checkpoint(&model).join("state.json"));
        assert_eq!((state["step"].as_u64(), state["images"].as_u64()), (Some(50), Some(400)));
        let grids = entries(&model.join("samples"));
        assert_eq!(grids.len(), 2, "{grids:?}");
        grids.iter().for_each(|grid| assert!(picture(grid).0 > 100));
    }
    let litter = contents(out).into_keys().find(|path| path.to_string_lossy().contains(".tmp"));
    assert_eq!(litter, None);
}

#[test]
fn a_comparison_has_every_score_or_the_reason_why_not() {
    let comparison = finished().join("comparison");
    let results = json(&comparison.join("results.json"));
    let rows = results["rows"].as_array().expect("rows");
    let of_row = |row: &serde_json::Value| row["family"].as_str().map(str::to_owned);
    assert_eq!(rows.iter().filter_map(of_row).collect::<Vec<_>>(), families());
    for row in rows {
        for key in ["parameters", "seed"] {
            assert!(row[key].as_f64().is_some(), "{key}: {row}");
        }
        for key in ["images", "seconds", "flops", "images_per_second"] {
            assert!(row["train"][key].as_f64().is_some_and(|x| x > 0.0), "{key}: {row}");
        }
        let [seconds, loader] = ["seconds", "loader_seconds"].map(|key| row["train"][key].as_f64());
        assert!(loader.is_some_and(|x| x > 0.0) && loader < seconds, "{row}");
        assert!(row["sampling"]["network_calls"].as_u64().is_some_and(|calls| calls > 0));
        let scores = &row["scores"];
        for score in [
            "frechet_distance",
            "frechet_distance_excess",
            "kernel_distance",
            "precision",
            "recall",
            "density",
            "coverage",
        ] {
            for split in ["train", "test"] {
                let score = &scores[score][split];
                let value = score["value"].as_f64();
                assert!(
                    value.is_some_and(f64::is_finite) || score["reason"].is_string(),
                    "{score}"
                );
            }
        }
    }
    for row in rows {
        let points = |curve: &str| row["curves"][curve].as_array().expect("points").clone();
        let (training, sampling, frontier) =
            (points("training"), points("sampling"), points("frontier"));
        // 50 steps: snapshots after 12 and 25, and the end.
        let images: Vec<_> = training.iter().map(|point| point["images"].as_u64()).collect();
        assert_eq!(images, [96, 200, 400].map(Some));
        let calls = row["sampling"]["network_calls"].as_u64();
        assert!(sampling.iter().any(|point| point["network_calls"].as_u64() == calls), "{row}");
        for point in training.iter().chain(&sampling).chain(&frontier) {
            let distance = point["scores"]["frechet_distance"].as_f64();
            assert!(distance.is_some_and(f64::is_finite), "{point}");
        }
    }
    let calibration = results["calibration"].as_array().expect("calibration rows");
    for name in ["test_set", "noise", "mean_image", "train_copy", "missing_class"] {
        assert!(calibration.iter().any(|row| row["name"] == name), "no row {name}");
    }
    let floor = calibration.iter().find(|row| row["name"] == "test_set").expect("a floor");
    assert_eq!(floor["scores"]["frechet_distance_excess"]["train"]["value"], 0.0);
    assert!(floor["scores"]["frechet_distance"]["test"]["reason"].is_string(), "{floor}");
    assert!(!results["protocol"].is_null());
    let csv = fs::read_to_string(comparison.join("results.csv")).expect("results.csv");
    for family in families() {
        assert!(csv.lines().any(|line| line.contains(family)), "{family} is not in:\n{csv}");
    }
    let (width, height) = picture(&comparison.join("grid.png"));
    assert!(width > 16 * 4 && height > 16 * families().len() as u32, "{width}x{height}");
}

#[test]
fn every_family_has_an_honest_likelihood_entry() {
    let results = json(&finished().join("comparison/results.json"));
    for row in results["rows"].as_array().expect("rows") {
        let further = row["further_bits_per_dim"].as_array().expect("a list of methods");
        for entry in std::iter::once(&row["scores"]["bits_per_dim"]).chain(further) {
            if entry["value"].is_null() {
                assert!(entry["reason"].as_str().is_some_and(|why| !why.is_empty()), "{entry}");
            } else {
                let kind = entry["kind"].as_str().expect("a kind");
                assert!(["exact", "bound", "estimate"].contains(&kind), "{entry}");
                let value = entry["value"].as_f64().expect("a number");
                assert!(value.is_finite() && value > 0.0, "{entry}");
            }
        }
    }
}

#[test]
fn running_again_trains_nothing_and_renders_again() {
    let out = copy_of_finished("again");
    let before = snapshot(&out);
    fs::remove_dir_all(out.join("comparison")).expect("a comparison");
    run(&finished_experiment(), &out, &[]).expect(0);
    let after = snapshot(&out);
    let same_files: Vec<_> = after.keys().collect();
    assert_eq!(before.keys().collect::<Vec<_>>(), same_files);
    for (path, (written, bytes)) in &before {
        let (written_now, bytes_now) = &after[path];
        // The page names the folders of its runs, and this run is a copy in another.
        let folder = |text: &[u8], folder: &Path| {
            String::from_utf8_lossy(text).replace(&folder.display().to_string(), "RUN")
        };
        let same = match path.ends_with("report.html") {
            true => folder(bytes, finished()) == folder(bytes_now, &out),
            false => bytes == bytes_now,
        };
        assert!(same, "{} has changed", path.display());
        let trained = path.components().any(|part| part.as_os_str() == "checkpoints");
        assert!(!trained || written == written_now, "{} was written again", path.display());
    }
}

/// `experiment.yaml` is the whole experiment: overrides applied, every default filled in.
#[test]
fn the_resolved_experiment_repeats_the_run() {
    let dir = scratch("repeat");
    let family = families()[0];
    let experiment = crate::support::experiment(&dir, &[family], &[]);
    let set = ["--set", "train.budget.images=48", "--seed", "9"];
    run(&experiment, &dir.join("first"), &set).expect(0);
    let resolved = dir.join("first/experiment.yaml");
    run(&resolved, &dir.join("second"), &[]).expect(0);
    assert_eq!(weights(&dir.join("first").join(family)), weights(&dir.join("second").join(family)));
    let manifest = json(&dir.join("second/manifest.json"));
    assert_eq!(manifest["seed"], 9);
    assert_eq!(fs::read(&resolved).unwrap(), fs::read(dir.join("second/experiment.yaml")).unwrap());
    // And a run is never found where it was not asked for.
    assert!(!dir.join("runs").exists());
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = scratch("dry");
    let experiment = crate::support::experiment(&dir, &families(), &[]);
    let before = snapshot(&dir);
    let ended = run(&experiment, &dir.join("run"), &["--dry-run"]).expect(0);
    assert_eq!(before, snapshot(&dir));
    for family in families() {
        let line = ended.stdout.lines().find(|line| line.starts_with(&format!("{family}: ")));
        let line = line.unwrap_or_else(|| panic!("nothing of {family} in:\n{}", ended.stdout));
        assert!(line.contains("parameters") && line.contains("50 steps"), "{line}");
    }
}
