//! The page: well-formed, self-contained, complete.

mod fixture;

use paragone_report::{BitsPerDim, Curves, ModelRow, Results, Score, SeedGroup, html};
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::BTreeSet;

fn written(results: &Results) -> String {
    html(&fixture::page(results, vec![fixture::picture(); 4])).unwrap()
}

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap()
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter_map(|node| node.text().filter(|_| node.is_text())).collect()
}

/// A table by its caption.
fn table<'a, 'i>(document: &'a Document<'i>, caption: &str) -> Node<'a, 'i> {
    let captioned = |table: &Node<'_, '_>| {
        table.children().any(|node| node.has_tag_name("caption") && text(node) == caption)
    };
    let mut tables = document.descendants().filter(|node| node.has_tag_name("table"));
    tables.find(captioned).unwrap_or_else(|| panic!("a table {caption}"))
}

fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

/// The rows of a table by its caption, cell by cell.
fn rows(document: &Document<'_>, caption: &str) -> Vec<Vec<String>> {
    let cells =
        |row: Node<'_, '_>| elements(row).map(|cell| text(cell).trim().to_owned()).collect();
    let rows = table(document, caption).descendants().filter(|node| node.has_tag_name("tr"));
    rows.map(cells).collect()
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let results = fixture::results();
    let page = written(&results);
    let document = parsed(&page);
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    for reference in ["http:", "https:", "url(", "@import", "//cdn"] {
        assert!(!outside.contains(reference), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for node in document.descendants().filter(Node::is_element) {
        if let Some(id) = node.attribute("id") {
            assert!(ids.insert(id), "{id} twice");
        }
    }
    for node in document.descendants().filter(Node::is_element) {
        let source = node.attribute("src");
        assert!(source.is_none_or(|source| source.starts_with("data:image/png;base64,")));
        if let Some(target) = node.attribute("href") {
            assert!(target.strip_prefix('#').is_some_and(|id| ids.contains(id)), "{target}");
        }
    }
    assert_eq!(page, written(&results));
}

#[test]
fn every_figure_names_its_command_and_every_plot_its_subject() {
    let results = fixture::results();
    let page = written(&results);
    let document = parsed(&page);
    let figures: Vec<_> =
        document.descendants().filter(|node| node.has_tag_name("figure")).collect();
    assert!(figures.len() > 15, "{}", figures.len());
    for figure in &figures {
        let command = figure.descendants().find(|node| node.has_tag_name("code")).map(text);
        let command = command.unwrap_or_default();
        assert!(
            command.starts_with("paragone ") || command.starts_with("scripts/run "),
            "{command}"
        );
        let shown = |node: &Node<'_, '_>| {
            node.attribute("alt")
                .or(node.attribute("aria-label"))
                .is_some_and(|text| !text.is_empty())
        };
        assert!(figure.descendants().any(|node| shown(&node)));
    }
}

#[test]
fn names_stay_text() {
    let mut results = fixture::results();
    let bad = "<script>alert('&')</script>";
    results.rows.retain(|row| row.seed == 0);
    results.rows[0].model = bad.into();
    results.rows[0].run = None;
    results.calibration[3].name = bad.into();
    results.rows[1].scores.conditional_accuracy = Score::missing(bad);
    let page = written(&results);
    let document = parsed(&page);
    let scripts = document.descendants().filter(|node| node.has_tag_name("script")).count();
    assert_eq!(scripts, 1);
    assert_eq!(rows(&document, "Scores against the train split")[2][0], bad);
    assert!(!page.contains("<script>alert"));
}

#[test]
fn every_dash_has_its_reason() {
    let results = fixture::results();
    let page = written(&results);
    let document = parsed(&page);
    let mut dashes = 0;
    for cell in document.descendants().filter(|node| node.attribute("class") == Some("none")) {
        let reason = cell.attribute("title").unwrap();
        let link = cell.descendants().find_map(|node| node.attribute("href")).unwrap();
        let note =
            document.descendants().find(|node| node.attribute("id") == link.strip_prefix('#'));
        assert_eq!(
            text(note.unwrap()),
            format!("—{} {reason}", text(cell).trim_start_matches('—'))
        );
        dashes += 1;
    }
    // The likelihood of the GAN in three tables and of the calibration rows in one, at least.
    assert!(dashes >= 12, "{dashes}");
    let body = text(document.root_element());
    for reason in [
        "defines no likelihood",
        "no model is behind them",
        "its noise has no temperature",
        "not reached in its training",
    ] {
        assert!(body.contains(reason), "{reason}");
    }
}

#[test]
fn facts_of_several_seeds_are_their_mean() {
    let mut results = fixture::results();
    for row in &mut results.rows {
        row.facts.insert("prior_kl".to_owned(), 1.0 + row.seed as f64);
    }
    // Seeds 0, 1 and 2: a mean of 2.
    let page = written(&results);
    let models = rows(&parsed(&page), "The models");
    let of_itself = models[1].last().unwrap();
    assert_eq!(of_itself, "latent dim 64, prior kl 2", "{models:?}");
}

#[test]
fn seeds_are_one_row_and_the_best_is_marked_within_a_kind() {
    let mut results = fixture::results();
    let page = written(&results);
    let document = parsed(&page);
    let scores = rows(&document, "Scores against the train split");
    let names: Vec<&str> = scores[2..6].iter().map(|row| row[0].as_str()).collect();
    assert_eq!(
        names,
        [
            "vae (3\u{a0}seeds)",
            "gan (3\u{a0}seeds)",
            "autoregressive (3\u{a0}seeds)",
            "diffusion (3\u{a0}seeds)"
        ]
    );
    assert!(scores[3][2].contains(" ± "), "{:?}", scores[3]);
    let likelihood = scores[1].iter().position(|head| head.starts_with("bits/dim")).unwrap();
    let marked = |document: &Document<'_>, row: usize, column: usize| {
        let table = table(document, "Scores against the train split");
        let body = elements(table).find(|node| node.has_tag_name("tbody")).unwrap();
        let row = elements(body).nth(row).unwrap();
        let cell = elements(row).nth(column).unwrap();
        cell.descendants().any(|node| node.attribute("class") == Some("best"))
    };
    let all = |document: &Document<'_>, column: usize| -> Vec<usize> {
        (0..13).filter(|row| marked(document, *row, column)).collect()
    };
    // The GAN's distance; never a calibration row's, and no likelihood of a bound against an exact one.
    assert_eq!(all(&document, 2), [1]);
    assert_eq!(all(&document, likelihood), [] as [usize; 0]);
    for row in &mut results.rows {
        if let BitsPerDim::Measured { kind, .. } = &mut row.scores.bits_per_dim {
            *kind = "bound".into();
        }
    }
    let page = written(&results);
    assert_eq!(all(&parsed(&page), likelihood), [2]);
}

#[test]
fn trainings_of_other_settings_are_other_models() {
    let mut results = fixture::results();
    let gans = |row: &&mut ModelRow| row.model == "gan" && row.seed > 0;
    for row in results.rows.iter_mut().filter(gans) {
        row.made_of["models"]["gan"]["train"] = serde_json::json!({ "lr": 0.001 });
    }
    let titles = |results: &Results| -> Vec<String> {
        results.seed_groups().iter().map(SeedGroup::counted_title).collect()
    };
    assert_eq!(titles(&results)[1..3], ["runs/fashion-mnist-0 gan", "gan (2\u{a0}seeds)"]);
    // A second seed of the other: both are called by their runs.
    let row = results.rows.iter().find(|row| row.model == "gan" && row.seed == 0);
    let second = ModelRow { seed: 3, run: Some("runs/3".to_owned()), ..row.unwrap().clone() };
    results.rows.push(second);
    assert_eq!(
        titles(&results)[1..3],
        [
            "gan of runs/fashion-mnist-0, runs/3 (2\u{a0}seeds)",
            "gan of runs/fashion-mnist-1, runs/fashion-mnist-2 (2\u{a0}seeds)"
        ]
    );
}

#[test]
fn the_protocol_of_every_score_is_told() {
    let results = fixture::results();
    let page = written(&results);
    let document = parsed(&page);
    let features = rows(&document, "Scores in features, by the split compared with");
    let heads =
        ["", "classifier/fashion-mnist, train", "classifier/fashion-mnist, test", "random, train"];
    assert_eq!(features[0], heads);
    let images = ["reference images", "60000", "10000", "60000"];
    assert!(features.iter().any(|row| *row == images), "{features:?}");
    let others = rows(&document, "Other scores");
    let holes = ["inpainting", "images 200; masks half, strokes; seeds 2"];
    assert!(others.iter().any(|row| *row == holes), "{others:?}");
}

#[test]
fn little_makes_a_page_too() {
    let mut results = fixture::results();
    results.rows.truncate(1);
    results.calibration.clear();
    let row = &mut results.rows[0];
    row.curves = Curves::default();
    row.other_features.clear();
    row.per_class.clear();
    row.memorization = None;
    let page = written(&results);
    let heads: Vec<String> =
        parsed(&page).descendants().filter(|node| node.has_tag_name("h2")).map(text).collect();
    assert!(heads.contains(&"Scores".to_owned()) && !heads.contains(&"Classes".to_owned()));
    results.rows.clear();
    results.protocol = serde_json::Value::Null;
    parsed(&written(&results));
}
