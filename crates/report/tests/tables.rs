//! Tables as text and as CSV, letter for letter.

use paragone_report::{
    Baseline, Better, BitsPerDim, CalibrationRow, CaptionScores, Cell, Column, Curves, EditPoint,
    EditingScores, FeatureScores, ModelRow, Results, Sampling, Score, Scores, Table, TableRow,
    Training,
};
use std::collections::BTreeMap;

fn value(mean: f64, spread: Option<f64>, kind: Option<&str>) -> Cell {
    Cell::Value { mean, spread, kind: kind.map(String::from) }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

fn table(columns: &[(&str, Better)], rows: Vec<(bool, Vec<Cell>)>) -> Table {
    let column = |(name, better): &(&str, Better)| Column { name: (*name).into(), better: *better };
    let rows = rows.into_iter().map(|(ranked, cells)| TableRow { cells, ranked });
    Table { columns: columns.iter().map(column).collect(), rows: rows.collect() }
}

fn example() -> Table {
    table(
        &[
            ("model", Better::None),
            ("FD", Better::Lower),
            ("recall", Better::Higher),
            ("bits/dim", Better::Lower),
        ],
        vec![
            (
                true,
                vec![
                    text("vae"),
                    value(25.81234, Some(0.3), None),
                    Cell::number(0.41),
                    value(3.2412, None, Some("bound")),
                ],
            ),
            (
                true,
                vec![
                    text("gan"),
                    value(5.7, Some(0.04), None),
                    Cell::number(0.16),
                    Cell::missing("defines no likelihood"),
                ],
            ),
            (
                true,
                vec![
                    text("autoregressive"),
                    value(112.5, None, None),
                    Cell::number(0.4101),
                    value(3.13, Some(0.012), Some("exact")),
                ],
            ),
            (
                false,
                vec![
                    text("test_set"),
                    Cell::number(0.131),
                    Cell::number(0.7),
                    Cell::missing("no model"),
                ],
            ),
        ],
    )
}

#[test]
fn text_is_aligned_marked_and_explained() {
    let want = "\
model                     FD ↓  recall ↑     bits/dim ↓
───────────────────────────────────────────────────────
vae              25.81  ± 0.30    0.410*  ≤ 3.24
gan               5.70* ± 0.04    0.160              —¹
autoregressive  112.50            0.410*    3.13 ± 0.01
───────────────────────────────────────────────────────
test_set          0.13            0.700              —²
* best of its column
¹ defines no likelihood
² no model
";
    let text = example().to_text();
    assert_eq!(text, want);
}

#[test]
fn csv_is_complete() {
    let mut table = example();
    table.rows[1].cells[0] = text("gan, \"wide\"\nlast");
    assert_eq!(
        table.to_csv(),
        "model,FD,FD_std,recall,bits/dim,bits/dim_std,bits/dim_kind,bits/dim_note\r\n\
         vae,25.81234,0.3,0.41,3.2412,,bound,\r\n\
         \"gan, \"\"wide\"\"\nlast\",5.7,0.04,0.16,,,,defines no likelihood\r\n\
         autoregressive,112.5,,0.4101,3.13,0.012,exact,\r\n\
         test_set,0.131,,0.7,,,,no model\r\n"
    );
}

#[test]
fn nothing_is_best_where_there_is_no_choice() {
    let columns = [("model", Better::None), ("FD", Better::Lower)];
    for values in [vec![3.0], vec![3.0, 3.0], vec![]] {
        let row = |value: &f64| (true, vec![text("a"), Cell::number(*value)]);
        let table = table(&columns, values.iter().map(row).collect());
        assert!(!table.to_text().contains('*'), "{}", table.to_text());
    }
}

#[test]
fn one_kind_of_likelihood_is_ranked() {
    let columns = [("model", Better::None), ("bits/dim", Better::Lower)];
    let row = |bits: f64, kind| (true, vec![text("a"), value(bits, None, Some(kind))]);
    let same = table(&columns, vec![row(3.1, "bound"), row(3.2, "bound")]);
    assert!(same.to_text().contains("≤ 3.10*"), "{}", same.to_text());
    let mixed = table(&columns, vec![row(3.1, "bound"), row(3.2, "exact"), row(3.3, "exact")]);
    assert!(!mixed.to_text().contains('*'), "{}", mixed.to_text());
}

/// Scores against the train and the test split.
fn scores(frechet: [Score; 2], accuracy: Score, bits_per_dim: BitsPerDim) -> Scores {
    let both = |of: &dyn Fn(f64) -> Score| {
        let of = |score: &Score| score.value().map_or_else(|| score.clone(), of);
        BTreeMap::from([("train".into(), of(&frechet[0])), ("test".into(), of(&frechet[1]))])
    };
    let features = FeatureScores {
        frechet_distance: both(&measured),
        frechet_distance_excess: both(&|frechet| measured(frechet - 0.26)),
        frechet_distance_infinity: both(&|frechet| measured(frechet - 0.2)),
        frechet_distance_infinity_error: both(&|_| measured(0.03)),
        kernel_distance: both(&|frechet| measured(frechet / 1000.0)),
        kernel_distance_interval: both(&|frechet| measured(frechet / 9000.0)),
        precision: both(&|_| measured(0.8)),
        recall: both(&|_| measured(0.7)),
        density: both(&|_| Ok((0.9, Some(0.02))).into()),
        coverage: both(&|_| Ok((f64::NAN, None)).into()),
    };
    Scores {
        features,
        inception_score: measured(4.2),
        conditional_accuracy: accuracy,
        bits_per_dim,
    }
}

fn measured(value: f64) -> Score {
    Score::Measured { value, std: None }
}

fn results() -> Results {
    let model = |name: &str, frechet: f64, bits: BitsPerDim| ModelRow {
        run: None,
        experiment: "shapes".into(),
        model: name.into(),
        family: name.into(),
        seed: 0,
        made_of: serde_json::Value::Null,
        parameters: 2_550_000,
        train: Training {
            budget: "600 seconds".into(),
            images: 153_600,
            seconds: 600.5,
            loader_seconds: 0.25,
            flops: 1.5e14,
            images_per_second: 256.0,
            precision: "f32".to_owned(),
            peak_memory_bytes: None,
        },
        sampling: Sampling { network_calls: 20, seconds_per_image: 0.0125 },
        scores: scores(
            [measured(frechet), measured(frechet + 0.5)],
            Score::missing("no classifier judges"),
            bits,
        ),
        other_features: BTreeMap::new(),
        per_class: Vec::new(),
        further_bits_per_dim: Vec::new(),
        truth: None,
        captions: None,
        inpainting: None,
        editing: None,
        memorization: None,
        curves: Curves::default(),
        facts: BTreeMap::from([("latent_dim".into(), 64.0)]),
    };
    let bound = BitsPerDim::Measured {
        value: 3.24,
        standard_error: 0.01,
        kind: "bound".into(),
        method: "elbo".into(),
        conditional: true,
        images: 2000,
        draws: 1,
        passes: 1,
    };
    let test_set = CalibrationRow {
        name: "test_set".into(),
        scores: scores(
            [measured(0.26), Score::missing("is the same set")],
            measured(0.92),
            BitsPerDim::missing("no model"),
        ),
        other_features: BTreeMap::new(),
        truth: None,
        captions: None,
    };
    Results {
        protocol: serde_json::json!({ "samples": 10000 }),
        rows: vec![
            model("vae", 25.8, bound),
            model("gan", 21.8, BitsPerDim::missing("defines no likelihood")),
        ],
        calibration: vec![test_set],
        baselines: Vec::new(),
    }
}

#[test]
fn results_read_back_and_say_why_scores_are_missing() {
    let results = results();
    let json = serde_json::to_value(&results).unwrap();
    let gan = &json["rows"][1];
    assert_eq!(
        gan["scores"]["bits_per_dim"],
        serde_json::json!({ "value": null, "reason": "defines no likelihood" })
    );
    assert_eq!(
        gan["scores"]["coverage"]["train"],
        serde_json::json!({ "value": null, "reason": "it came out as NaN" })
    );
    assert_eq!(gan["scores"]["frechet_distance"]["train"], serde_json::json!({ "value": 21.8 }));
    assert_eq!(serde_json::from_value::<Results>(json).unwrap(), results);
}

#[test]
fn the_table_of_results() {
    let text = results().to_table().to_text();
    let lines: Vec<&str> = text.lines().collect();
    let heads = ["model", "params", "images", "FD ↓", "FD−floor ↓", "KID ↓"];
    let mut rest = lines[0];
    for head in heads {
        let at =
            rest.find(head).unwrap_or_else(|| panic!("{head} is not in order in {}", lines[0]));
        rest = &rest[at + head.len()..];
    }
    assert!(lines[2].starts_with("vae        2.55M    154k"), "{text}");
    assert!(lines[3].contains("21.8*"), "{text}");
    assert!(lines[2].contains("≤ 3.24 ± 0.01"), "{text}");
    assert!(text.contains("it came out as NaN"), "{text}");
    assert!(lines[5].starts_with("test_set") && lines[5].contains("0.92"), "{text}");
}

#[test]
fn the_csv_of_tasks_has_a_record_a_score() {
    let mut results = results();
    assert_eq!(results.to_task_table(), None);
    assert_eq!(results.to_task_csv().lines().count(), 1);
    let seen = BTreeMap::from([("all".to_owned(), 0.5), ("colour".to_owned(), 0.75)]);
    results.rows[0].captions = Some(CaptionScores { seen, held_out: BTreeMap::new() });
    let point = |strength, masked, both| EditPoint {
        strength,
        masked,
        changed: both,
        kept: 1.0,
        both,
        object_count: None,
        background_error: 2.0,
        network_calls: 7,
        seconds_per_image: 0.25,
    };
    let points =
        vec![point(None, false, 0.9), point(Some(0.5), false, 0.4), point(Some(0.5), true, 0.6)];
    let mut scores = EditingScores::new("mixing".to_owned());
    scores.edits.insert("recolour".to_owned(), points);
    results.rows[0].editing = Some(scores.clone());
    let [unchanged, ..] = scores.edits.get_mut("recolour").unwrap().as_mut_slice() else {
        panic!()
    };
    unchanged.both = 0.0;
    scores.edits.get_mut("recolour").unwrap().truncate(1);
    // A family that does not edit has no records, and says so in the table.
    results.rows[1].editing = Some(EditingScores::new("cannot".to_owned()));
    results.baselines.push(Baseline {
        run: None,
        name: "unchanged".to_owned(),
        inpainting: None,
        editing: Some(scores),
    });
    let csv = results.to_task_csv();
    for record in [
        "row,run,model,seed,task,kind,track,strength,score,value",
        "model,,vae,0,captions,seen,,,colour,0.75",
        "model,,vae,0,editing,recolour,new image,,both,0.9",
        "model,,vae,0,editing,recolour,free,0.5,network_calls,7",
        "model,,vae,0,editing,recolour,masked,0.5,both,0.6",
        "baseline,,unchanged,,editing,recolour,baseline,,both,0",
    ] {
        assert!(csv.lines().any(|line| line == record), "{record} is not in {csv}");
    }
    let text = results.to_task_table().unwrap().to_text();
    let heads = text.lines().next().unwrap();
    assert!(heads.contains("captions: right ↑") && heads.contains("both, masked ↑"), "{text}");
    assert!(!heads.contains("PSNR"), "{text}");
    let vae = text.lines().find(|line| line.starts_with("vae")).unwrap();
    assert!(vae.contains("0.500") && vae.contains("0.400") && vae.contains("0.600"), "{text}");
}

#[test]
fn the_csv_of_results_has_every_score() {
    let csv = results().to_csv();
    let mut lines = csv.split("\r\n");
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let vae: Vec<&str> = lines.next().unwrap().split(',').collect();
    let of = |name: &str| vae[head.iter().position(|head| *head == name).unwrap()];
    assert_eq!(of("row"), "model");
    assert_eq!(of("train_budget"), "600 seconds");
    assert_eq!(of("frechet_distance_test"), "26.3");
    assert_eq!(of("frechet_distance_excess_train").parse::<f64>().unwrap(), 25.8 - 0.26);
    assert_eq!(of("density_train_std"), "0.02");
    assert_eq!(of("coverage_train_note"), "it came out as NaN");
    assert_eq!((of("bits_per_dim"), of("bits_per_dim_kind")), ("3.24", "bound"));
    assert_eq!(of("bits_per_dim_standard_error"), "0.01");
    assert!(!head.contains(&"bits_per_dim_std"));
    assert_eq!(of("frechet_distance_infinity_error_test"), "0.03");
    assert_eq!((of("bits_per_dim_method"), of("parameters")), ("elbo", "2550000"));
    let test_set: Vec<&str> = csv.split("\r\n").nth(3).unwrap().split(',').collect();
    assert_eq!(test_set[0], "calibration");
    assert_eq!(test_set.len(), head.len());
}
