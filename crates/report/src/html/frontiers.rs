//! Fidelity against diversity.

use super::{
    context::Context,
    distances::{Point, SEEDS, lines},
    figure::Plotted,
};
use crate::{
    FrontierPoint, ModelRow, PointScores,
    plot::{Axis, Item, Plot, written},
};
use std::cmp::Ordering;

/// Fidelity against diversity, and distance, under each quality knob.
pub fn plots<'a>(context: &Context<'a>) -> Vec<Plotted<'a>> {
    let mut knobs: Vec<&str> = Vec::new();
    for point in context.results.rows.iter().flat_map(|row| &row.curves.frontier) {
        if !knobs.contains(&point.knob.as_str()) {
            knobs.push(&point.knob);
        }
    }
    let both = |knob: &&str| [frontier(context, knob), knob_distance(context, knob)];
    knobs.iter().flat_map(both).flatten().collect()
}

/// A model under the settings of a knob, rising, at the places that are given.
fn settings(
    row: &ModelRow,
    knob: &str,
    place: impl Fn(f64, &PointScores) -> (f64, f64),
) -> Vec<Point> {
    let points = row.curves.frontier.iter().filter(|point| point.knob == knob);
    let point = |point: &FrontierPoint| {
        let (x, y) = place(point.value, &point.scores);
        Point { x, y, setting: Some(point.value), headline: point.value == 1.0 }
    };
    let mut points: Vec<Point> = points.map(point).collect();
    points.sort_by(|a, b| a.setting.partial_cmp(&b.setting).unwrap_or(Ordering::Equal));
    points
}

fn frontier<'a>(context: &Context<'a>, knob: &str) -> Option<Plotted<'a>> {
    let (mut items, mut marks, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (model, group) in context.groups.iter().enumerate() {
        let of_row = |row: &&ModelRow| {
            let points = settings(row, knob, |_, scores| (scores.recall, scores.precision));
            let itself = context.itself(row).map(|scores| Point {
                x: scores.recall,
                y: scores.precision,
                setting: None,
                headline: true,
            });
            if points.is_empty() { itself.into_iter().collect() } else { points }
        };
        for line in lines(group.rows.iter().map(of_row).collect()) {
            places.extend(line.points.iter().map(|point| (point.x, point.y)));
            if !line.faint {
                marks.extend(line.marks(model));
                marks.extend(notes(&line.points));
            }
            items.push(line.drawn(model));
        }
    }
    items.extend(marks);
    if let Some(at) = test_images(context) {
        items.push(Item::Stroke { at, upright: false });
        items.push(Item::Stroke { at, upright: true });
        items.push(Item::Note { text: "test images".to_owned(), at });
        places.push(at);
    }
    let name = knob.replace('_', " ");
    let mut caption = format!(
        "Up and to the right is better. Each line is one model over settings of its {name}, with their values; a ring is the \
         model without the knob, as it is in the table. Models without this knob are their ring alone."
    );
    if context.several_seeds() {
        caption.push_str(SEEDS);
    }
    Some(Plotted {
        plot: Plot {
            title: format!("Fidelity against diversity: {name}"),
            x: Axis::linear("recall: diversity →", places.iter().map(|at| at.0))?,
            y: Axis::linear("precision: fidelity →", places.iter().map(|at| at.1))?,
            rulers: Vec::new(),
            items,
            height: 1.0,
        },
        models: context.legend(),
        caption,
    })
}

/// The settings at both ends of a line and in the ring.
fn notes(points: &[Point]) -> impl Iterator<Item = Item> {
    let told = move |(index, point): &(usize, &Point)| {
        *index == 0 || index + 1 == points.len() || point.headline
    };
    points.iter().enumerate().filter(told).filter_map(|(_, point)| {
        Some(Item::Note { text: written(point.setting?), at: (point.x, point.y) })
    })
}

/// Recall and precision of test images.
fn test_images(context: &Context<'_>) -> Option<(f64, f64)> {
    let row = context.results.calibration.iter().find(|row| row.name == "test_set")?;
    let split = context.split.as_ref()?;
    let features = &row.scores.features;
    Some((features.recall.get(split)?.value()?, features.precision.get(split)?.value()?))
}

fn knob_distance<'a>(context: &Context<'a>, knob: &str) -> Option<Plotted<'a>> {
    let name = knob.replace('_', " ");
    let points = |row: &ModelRow| {
        settings(row, knob, |value, scores| (value, scores.frechet_distance_excess))
    };
    context.distances(&format!("Distance against {name}"), &points, |values| {
        Axis::linear(&name, values)
    })
}
