//! Models that are told what to draw in words.

use crate::support::{experiment, families, json, paragone, picture, run, scratch};
use std::{fs, path::Path};

/// Trains, scores and compares every family on captions once, then asks for images in words.
#[test]
fn every_family_draws_what_a_prompt_says() {
    let dir = scratch("captions");
    let changes = [("data.condition", "text"), ("train.budget.images", "160")];
    let file = experiment(&dir, &families(), &changes);
    let out = dir.join("run");
    run(&file, &out, &[]).expect(0);

    let results = json(&out.join("comparison/results.json"));
    for row in results["rows"].as_array().expect("rows") {
        let accuracy = &row["scores"]["conditional_accuracy"];
        assert!(accuracy["value"].is_number(), "{}: {accuracy}", row["model"]);
    }
    let of_test = &results["calibration"][0]["scores"]["conditional_accuracy"]["value"];
    assert!(of_test.as_f64().expect("a judge of captions") > 0.9, "{of_test}");
    let calibration = results["calibration"].as_array().expect("calibration rows");
    let all = |name: &str| {
        let row = calibration.iter().find(|row| row["name"] == name).expect("a row");
        row["captions"]["seen"]["all"].as_f64().expect("a share")
    };
    assert!(all("random_caption") < all("nearest_caption"));

    for family in families() {
        let model = out.join(family);
        assert!(json(&model.join("tokenizer.json"))["model"]["vocab"]["circle"].is_number());
        let draw = |name: &str, more: &[&str]| {
            let png = dir.join(format!("{family}-{name}.png"));
            let ended = sample(&model, &[&["-n", "4", "--out", &text(&png)], more].concat());
            let ended = ended.expect(0);
            picture(&png);
            (fs::read(&png).expect("a picture"), ended)
        };
        let red = ["--prompt", "a red circle"];
        let (first, said) = draw("a", &red);
        assert!(!said.stderr.contains("not in the vocabulary"), "{}", said.stderr);
        assert_eq!(first, draw("b", &red).0, "{family}: the same prompt, other images");
        assert_eq!(first, draw("c", &["--prompt", "A  RED circle"]).0, "{family}");
        assert_ne!(first, draw("d", &["--prompt", "a blue square"]).0, "{family}: deaf");
        assert_ne!(first, draw("e", &["--unconditional"]).0, "{family}: deaf");
        let file = dir.join("prompts.txt");
        fs::write(&file, "a red circle\n\n").expect("a written file");
        assert_eq!(
            first,
            draw("file", &["--prompts", &text(&file)]).0,
            "{family}: a file of prompts"
        );
        if family != "gan" {
            let guided = [red.as_slice(), &["--guidance-scale", "3"]].concat();
            let away = [guided.as_slice(), &["--negative-prompt", "a blue square"]].concat();
            assert_ne!(draw("guided", &guided).0, draw("away", &away).0, "{family}: deaf");
        }
        let unknown = draw("f", &["--prompt", "a crimson circle"]).1;
        unknown.says(&["crimson", "not in the vocabulary"]);
        let long = draw("g", &["--prompt", &"red ".repeat(40)]).1;
        long.says(&["longer than", "not read"]);
    }
}

/// A folder of one's own: red pictures and blue ones, which a model trained on it can be asked for.
#[test]
fn a_folder_with_captions_trains_and_answers() {
    let dir = scratch("captions-folder");
    let photos = dir.join("photos");
    fs::create_dir_all(&photos).expect("a folder");
    let mut lines = String::new();
    for i in 0..300u32 {
        let (colour, pixel) = [("red", [220, 20, 20]), ("blue", [20, 20, 220])][i as usize % 2];
        let name = format!("{i:03}.png");
        let picture = image::RgbImage::from_pixel(20, 16 + i % 5, image::Rgb(pixel));
        picture.save(photos.join(&name)).expect("a file");
        let more = if i == 0 { " very".repeat(70) } else { String::new() };
        let caption = format!("all of it {colour}{more}");
        lines += &format!("{{\"file_name\": \"{name}\", \"text\": \"{caption}\"}}\n");
    }
    fs::write(photos.join("metadata.jsonl"), lines).expect("a written file");
    let data = format!(
        "{{ dataset: image-folder, path: {}, size: 16, condition: text }}",
        photos.display()
    );
    let changes = [("data", data.as_str()), ("train.budget.images", "1600")];
    let file = experiment(&dir, &["gan"], &changes);
    let datasets = text(&dir.join("datasets"));
    let ended = run(&file, &dir.join("run"), &["--datasets", &datasets]).expect(0);
    ended.says(&["of 1 training captions only the first 64 words are read"]);
    let results = json(&dir.join("run/comparison/results.json"));
    let rows = results["calibration"].as_array().expect("calibration rows");
    assert!(rows.iter().any(|row| row["name"] == "nearest_caption"));
    let png = dir.join("asked.png");
    let ask = ["--prompt", "all of it green", "--out", &text(&png)];
    sample(&dir.join("run/gan"), &ask).expect(0).says(&["green", "not in the vocabulary"]);
    picture(&png);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let dir = scratch("captions-wrong");
    let family = families()[0];
    let file = experiment(&dir, &[family], &[("data.condition", "text"), ("data.flip", "true")]);
    run(&file, &dir.join("run"), &[]).expect(2).says(&["flip", "left and right"]);
    assert!(!dir.join("run").exists());

    let changes = [("data.condition", "text"), ("train.budget.images", "16")];
    let file = experiment(&dir, &[family], &changes);
    run(&file, &dir.join("run"), &[]).expect(0);
    let model = dir.join("run").join(family);
    let out = text(&dir.join("never.png"));
    let refused = |more: &[&str], says: &[&str]| {
        sample(&model, &[&["--out", &out], more].concat()).expect(2).says(says);
        assert!(!dir.join("never.png").exists());
    };
    refused(&[], &["--prompt", "--unconditional"]);
    refused(&["--class", "1"], &["without classes"]);
    refused(&["--prompt", "a ring", "--class", "1"], &["--class"]);
    refused(&["--prompt", "a ring", "--unconditional"], &["--unconditional"]);
    refused(&["--prompt", "a ring", "--negative-prompt", "red"], &["--guidance-scale"]);
    refused(&["--prompts", "no-such-file.txt"], &["no-such-file.txt"]);
    let empty = dir.join("empty.txt");
    fs::write(&empty, "\n\n").expect("a written file");
    refused(&["--prompts", &text(&empty)], &["empty.txt", "no prompt"]);
    let two = ["--prompt", "a ring", "--prompt", "a cross", "-n", "1"];
    refused(&two, &["--n is 1", "2 prompts"]);
}

fn sample(model: &Path, more: &[&str]) -> crate::support::Ended {
    let model = text(model);
    paragone(&[&["sample", &model], more].concat())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
