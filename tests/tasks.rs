//! Filling holes, editing, and going through latents.

use crate::support::{Ended, copy, experiment, families, json, paragone, picture, run, scratch};
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::{fs, path::Path};

/// Trains every family on captions and known pixels, scores both tasks, then does them on a picture of another size.
#[test]
fn every_family_fills_holes_and_edits() {
    let dir = scratch("tasks");
    let changes = [
        ("data.condition", "text"),
        ("data.masks", "[half, object]"),
        ("train.budget.images", "96"),
        ("eval.inpainting", "{ images: 6, masks: [half, strokes, object] }"),
        ("eval.editing", "{ pairs: 4, kinds: [recolour, remove], strengths: [0.5, 1.0] }"),
    ];
    let file = experiment(&dir, &families(), &changes);
    let out = dir.join("run");
    run(&file, &out, &[]).expect(0);

    let results = json(&out.join("comparison/results.json"));
    for row in results["rows"].as_array().expect("rows") {
        let scores = &row["inpainting"];
        assert_eq!(scores["track"], "trained", "{}", row["model"]);
        let masks = scores["masks"].as_object().expect("kinds of masks");
        assert_eq!(masks.keys().collect::<Vec<_>>(), ["half", "object", "strokes"]);
        for (kind, holes) in masks {
            assert_eq!(holes["known_pixels_kept"], 1.0, "{} {kind}", row["model"]);
            assert_eq!(holes["shown_in_training"], kind != "strokes");
            assert!(holes["psnr"].as_f64().expect("a number") > 0.0);
        }
        for kind in ["recolour", "remove"] {
            let points = row["editing"]["edits"][kind].as_array().expect("points");
            // Two strengths with and without a mask, and a new image.
            assert_eq!(points.len(), 5, "{} {kind}", row["model"]);
            let masked = points.iter().filter(|point| point["masked"] == true);
            masked.for_each(|point| assert_eq!(point["background_error"], 0.0));
            for point in points {
                assert!(point["network_calls"].as_u64() > Some(0), "{point}");
                assert_eq!(point["object_count"].is_number(), kind == "remove", "{point}");
            }
        }
    }
    let baseline = |name: &str| {
        let baselines = results["baselines"].as_array().expect("baselines");
        baselines.iter().find(|row| row["name"] == name).expect("a baseline").clone()
    };
    assert_eq!(baseline("original")["inpainting"]["masks"]["half"]["psnr"], 100.0);
    assert_eq!(baseline("original")["inpainting"]["masks"]["half"]["possible"], 1.0);
    assert_eq!(baseline("mean_fill")["inpainting"]["masks"]["half"]["possible"], 0.0);
    assert!(baseline("nearest_fill")["inpainting"]["masks"]["half"]["psnr"].as_f64() < Some(100.0));
    assert_eq!(baseline("unchanged")["editing"]["edits"]["recolour"][0]["changed"], 0.0);
    assert_eq!(baseline("target")["editing"]["edits"]["recolour"][0]["both"], 1.0);
    let csv = fs::read_to_string(out.join("comparison/tasks.csv")).expect("tasks.csv");
    for family in families() {
        for task in ["inpainting,half,trained,,psnr,", "editing,remove,masked,"] {
            let found = csv.lines().any(|line| line.contains(family) && line.contains(task));
            assert!(found, "no {task} of {family} in:\n{csv}");
        }
    }
    let page = fs::read_to_string(out.join("comparison/report.html")).expect("a page");
    for part in [
        "The same holes",
        "The same edits",
        "The same edits within a mask",
        "never shown in training",
    ] {
        assert!(page.contains(part), "the page says nothing of {part}");
    }

    let (given, mask) = (dir.join("given.png"), dir.join("mask.png"));
    RgbImage::from_fn(40, 24, |x, y| Rgb([x as u8, y as u8, 7])).save(&given).expect("a file");
    let hole = |x: u32, y: u32| (10..20).contains(&x) && y > 12;
    GrayImage::from_fn(40, 24, |x, y| Luma([if hole(x, y) { 255 } else { 0 }]))
        .save(&mask)
        .expect("a file");
    for family in families() {
        let model = text(&out.join(family));
        let png = dir.join(format!("{family}.png"));
        let images = dir.join(format!("{family}-images"));
        let common = ["--image", &text(&given), "--mask", &text(&mask), "--out", &text(&png)];
        let put = ["--images", &text(&images), "-n", "2", "--prompt", "a red circle"];
        let inpaint = [["inpaint", &model].as_slice(), &common, &put].concat();
        paragone(&inpaint)
            .expect(0)
            .says(&["40 by 24 pixels, brought to the model's", "brought back to 40 by 24"]);
        picture(&png);
        let completed = image::open(images.join("seed-0.png")).expect("a picture").into_rgb8();
        assert_eq!(completed.dimensions(), (40, 24));
        for (x, y, pixel) in completed.enumerate_pixels() {
            assert!(hole(x, y) || *pixel == Rgb([x as u8, y as u8, 7]), "{family}: {x}, {y}");
        }

        let strengths = ["--strength", "0,0.7", "--prompt", "a blue square"];
        let edit = ["edit", &model, "--image", "test:1", "--out", &text(&png)];
        let put = ["--images", &text(&images)];
        paragone(&[edit.as_slice(), &strengths, &put].concat()).expect(0);
        picture(&png);
        let size = |name: &str| {
            image::open(images.join(name)).expect("a picture").into_rgb8().dimensions()
        };
        assert_eq!(size("strength-0.7-seed-0.png"), size("strength-0-seed-0.png"));

        let told = ["--source-prompt", "a red circle", "--image", &text(&given)];
        let edit = ["edit", &model, "--out", &text(&png)];
        let ended = paragone(&[edit.as_slice(), &strengths, &put, &told].concat()).expect(0);
        let deaf = ended.stderr.contains("has no effect on its edits");
        assert_eq!(deaf, family == "autoregressive", "{}", ended.stderr);
        let unchanged = image::open(images.join("strength-0-seed-0.png")).expect("a picture");
        assert_eq!(unchanged.into_rgb8(), image::open(&given).expect("a picture").into_rgb8());

        let latents = paragone(&["reconstruct", &model, "--out", &text(&png)]);
        if family == "autoregressive" {
            latents.expect(2).says(&["has no latents"]);
            continue;
        }
        assert!(latents.expect(0).stdout.contains("PSNR"));
        picture(&png);
        let frames = ["--frames", "3", "--to", &text(&given), "--out", &text(&png)];
        paragone(&[["interpolate", &model].as_slice(), &frames].concat()).expect(0);
        picture(&png);
    }
    wrong_arguments_are_named(&dir, &text(&out.join(families()[0])), &text(&given));
    models_of_one_name_in_two_experiments_are_both_shown(&dir, &out);
}

/// Half of the models in two experiments: as many rows as all in one.
fn models_of_one_name_in_two_experiments_are_both_shown(dir: &Path, run: &Path) {
    let other = dir.join("other");
    copy(run, &other);
    let yaml = fs::read_to_string(run.join("experiment.yaml")).expect("an experiment");
    fs::write(other.join("experiment.yaml"), yaml.replace("name: tiny", "name: other"))
        .expect("a file");
    for family in &families()[families().len() / 2..] {
        for run in [run, &other] {
            fs::remove_file(run.join(family).join("scores.json")).expect("scores");
        }
    }
    let both = dir.join("both");
    paragone(&["compare", &text(run), &text(&other), "--out", &text(&both)]).expect(0);
    for grid in ["inpainting.png", "editing.png", "editing-masked.png"] {
        // Labels of two lines may make it higher.
        let height = |folder: &Path| picture(&folder.join(grid)).1;
        assert!(height(&both) >= height(&run.join("comparison")), "{grid}");
    }
}

fn wrong_arguments_are_named(dir: &Path, model: &str, given: &str) {
    let never = dir.join("never.png");
    let refused = |arguments: &[&str], says: &[&str]| {
        let ended: Ended = paragone(&[arguments, &["--out", &text(&never)]].concat());
        ended.expect(2).says(says);
        assert!(!never.exists());
    };
    let inpaint = |more: &[&str], says: &[&str]| {
        refused(&[["inpaint", model].as_slice(), more].concat(), says);
    };
    inpaint(&["--image", given, "--mask", "circle"], &["--mask circle", "half", "outpaint"]);
    inpaint(&["--image", given, "--mask", "object"], &["nothing is known of objects"]);
    inpaint(&["--image", "no.png", "--mask", "half"], &["no.png"]);
    inpaint(&["--image", "test:99999999", "--mask", "half"], &["test:99999999"]);
    inpaint(&["--image", "test:x", "--mask", "half"], &["test:x"]);
    let (small, black) = (dir.join("small.png"), dir.join("black.png"));
    GrayImage::from_pixel(3, 3, Luma([255])).save(&small).expect("a file");
    GrayImage::new(40, 24).save(&black).expect("a file");
    inpaint(&["--image", given, "--mask", &text(&small)], &["3 by 3", "40 by 24"]);
    inpaint(&["--image", given, "--mask", &text(&black)], &["no white pixel"]);
    let edit = ["edit", model, "--image", given];
    refused(&edit, &["--prompt"]);
    refused(&[edit.as_slice(), &["--prompt", "a ring", "--strength", "1.5"]].concat(), &["1.5"]);
    let two = ["--prompt", "a ring", "--prompt", "a blue ring"];
    refused(&[edit.as_slice(), &two].concat(), &["--n is 1", "2 prompts"]);
    inpaint(
        &[["--image", given, "--mask", "half", "-n", "1"].as_slice(), &two].concat(),
        &["--n is 1", "2 prompts"],
    );
    let reconstruct = ["reconstruct", model, "--image", given];
    refused(&[reconstruct.as_slice(), &two].concat(), &["2 prompts", "1 pictures"]);
    refused(&["interpolate", model, "--frames", "1"], &["--frames"]);
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
