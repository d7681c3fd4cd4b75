//! The plots of the page.

use super::{Context, LearningCurve, figure::Plotted};
use crate::{
    ModelRow, PointScores, Score,
    plot::{Axis, Ink, Item, Look, Plot},
};
use std::collections::BTreeMap;

/// What distances are called on axes.
const EXCESS: &str = "FD − floor";
/// How far beyond the models' scores a known defect may lie to be drawn.
const NEAR: f64 = 2.0;
/// Points of a learning curve; more are averaged.
const LEARNING_POINTS: usize = 150;

/// A point of a model, and whether it is the headline's setting.
type Point = (f64, f64, bool);

/// The loss of each model against images seen, one plot a scalar.
pub fn learning<'a>(context: &Context<'a>, curves: &[LearningCurve]) -> Vec<Plotted<'a>> {
    let mut plots: BTreeMap<(usize, &str), Vec<&LearningCurve>> = BTreeMap::new();
    for curve in curves {
        if let Some(model) = context.model_of(curve.run.as_deref(), &curve.model) {
            plots.entry((model, &curve.scalar)).or_default().push(curve);
        }
    }
    let plot = |((model, scalar), curves): ((usize, &str), Vec<&LearningCurve>)| {
        let all = curves.iter().flat_map(|curve| &curve.points).filter(|(_, v)| v.is_finite());
        let xs = all.clone().map(|(images, _)| *images as f64);
        let binned: Vec<Vec<Bin>> = curves.iter().map(|curve| bins(&curve.points)).collect();
        let ys: Vec<f64> = binned.iter().flatten().flat_map(|bin| [bin.low, bin.high]).collect();
        let (low, high) =
            (ys.iter().copied().reduce(f64::min)?, ys.iter().copied().reduce(f64::max)?);
        // Losses that fall by an order of magnitude are read better so.
        let y = if low > 0.0 && high > 12.0 * low {
            Axis::log(scalar, ys.into_iter())?
        } else {
            Axis::linear(scalar, ys.into_iter())?
        };
        let ink = Ink::Model(model);
        let bands = binned.iter().map(|bins| Item::Band {
            ink,
            points: bins.iter().map(|bin| (bin.x, bin.low, bin.high)).collect(),
        });
        let lines = binned.iter().map(|bins| Item::Line {
            ink,
            points: bins.iter().map(|bin| (bin.x, bin.mean)).collect(),
            faint: false,
        });
        let title = context.groups[model].title.clone();
        Some(Plotted {
            plot: Plot {
                title: format!("{title}: {scalar}"),
                x: Axis::linear("images seen", xs.chain([0.0]))?,
                y,
                rulers: Vec::new(),
                items: bands.chain(lines).collect(),
                height: 0.8,
            },
            models: Vec::new(),
            caption: String::new(),
        })
    };
    plots.into_iter().filter_map(plot).collect()
}

struct Bin {
    x: f64,
    mean: f64,
    low: f64,
    high: f64,
}

/// Means and ranges of neighbouring values.
fn bins(points: &[(u64, f64)]) -> Vec<Bin> {
    let finite: Vec<(u64, f64)> = points.iter().copied().filter(|(_, v)| v.is_finite()).collect();
    let bin = |points: &[(u64, f64)]| {
        let n = points.len() as f64;
        let values = || points.iter().map(|(_, value)| *value);
        Bin {
            x: points.iter().map(|(images, _)| *images as f64).sum::<f64>() / n,
            mean: values().sum::<f64>() / n,
            low: values().fold(f64::INFINITY, f64::min),
            high: values().fold(f64::NEG_INFINITY, f64::max),
        }
    };
    finite.chunks(finite.len().div_ceil(LEARNING_POINTS).max(1)).map(bin).collect()
}

/// Quality against what training took: seconds, FLOPs, images.
pub fn training<'a>(context: &Context<'a>) -> Vec<Plotted<'a>> {
    let axes: [(&str, &str, fn(&crate::TrainingPoint) -> f64); 3] = [
        ("Quality against training time", "training time in seconds", |point| point.seconds),
        ("Quality against training compute", "training FLOPs", |point| point.flops),
        ("Quality against images seen", "training images seen", |point| point.images as f64),
    ];
    let plot = |(title, label, x): (&str, &str, fn(&crate::TrainingPoint) -> f64)| {
        let points = |row: &ModelRow| -> Vec<Point> {
            let points = row.curves.training.iter();
            points.map(|point| (x(point), point.scores.frechet_distance_excess, false)).collect()
        };
        context.distances(title, label, &points)
    };
    axes.into_iter().filter_map(plot).collect()
}

/// Quality against what an image takes: network calls, seconds.
pub fn sampling<'a>(context: &Context<'a>) -> Vec<Plotted<'a>> {
    if context.points("sampling") == 0 {
        return Vec::new();
    }
    let axes: [(&str, &str, fn(u64, f64) -> f64); 2] = [
        ("Quality against network calls", "network calls an image", |calls, _| calls as f64),
        ("Quality against sampling time", "milliseconds an image", |_, seconds| 1e3 * seconds),
    ];
    let plot = |(title, label, x): (&str, &str, fn(u64, f64) -> f64)| {
        let points = |row: &ModelRow| -> Vec<Point> {
            let own = &row.sampling;
            let points = row.curves.sampling.iter().map(|point| {
                let headline = point.network_calls == own.network_calls;
                let at = x(point.network_calls, point.seconds_per_image);
                (at, point.scores.frechet_distance_excess, headline)
            });
            let points: Vec<Point> = points.collect();
            if points.is_empty() {
                let excess = context.itself(row).map(|scores| scores.excess);
                let at = x(own.network_calls, own.seconds_per_image);
                excess.map(|excess| vec![(at, excess, true)]).unwrap_or_default()
            } else {
                points
            }
        };
        context.distances(title, label, &points)
    };
    axes.into_iter().filter_map(plot).collect()
}

/// Fidelity against diversity, and distance, under each quality knob.
pub fn frontiers<'a>(context: &Context<'a>) -> Vec<Plotted<'a>> {
    let mut knobs: Vec<&str> = Vec::new();
    for point in context.results.rows.iter().flat_map(|row| &row.curves.frontier) {
        if !knobs.contains(&point.knob.as_str()) {
            knobs.push(&point.knob);
        }
    }
    let both = |knob: &&str| [frontier(context, knob), knob_distance(context, knob)];
    knobs.iter().flat_map(both).flatten().collect()
}

/// Settings of a knob with their scores, rising.
fn settings<'r>(row: &'r ModelRow, knob: &str) -> Vec<(f64, &'r PointScores)> {
    let points = row.curves.frontier.iter().filter(|point| point.knob == knob);
    let mut points: Vec<_> = points.map(|point| (point.value, &point.scores)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn frontier<'a>(context: &Context<'a>, knob: &str) -> Option<Plotted<'a>> {
    let (mut items, mut marks, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (model, row) in context.rows() {
        let points = settings(row, knob);
        let line: Vec<(f64, f64)> = points.iter().map(|(_, s)| (s.recall, s.precision)).collect();
        let last = points.len().saturating_sub(1);
        for (index, ((value, _), at)) in points.iter().zip(&line).enumerate() {
            let own = *value == 1.0;
            let look = if own { Look::Ringed } else { Look::Small };
            marks.push(Item::Mark { model, at: *at, look });
            if index == 0 || index == last || own {
                marks.push(Item::Note { text: crate::plot::written(*value), at: *at });
            }
        }
        if let (true, Some(own)) = (points.is_empty(), context.itself(row)) {
            let at = (own.recall, own.precision);
            marks.push(Item::Mark { model, at, look: Look::Ringed });
            places.push(at);
        }
        places.extend(&line);
        items.push(Item::Line { ink: Ink::Model(model), points: line, faint: false });
    }
    items.extend(marks);
    if let Some(at) = test_images(context) {
        items.push(Item::Stroke { at, upright: false });
        items.push(Item::Stroke { at, upright: true });
        items.push(Item::Note { text: "test images".to_owned(), at });
        places.push(at);
    }
    let name = knob.replace('_', " ");
    Some(Plotted {
        plot: Plot {
            title: format!("Fidelity against diversity: {name}"),
            x: Axis::linear("recall: diversity →", places.iter().map(|at| at.0))?
                .with_room_above(0.06),
            y: Axis::linear("precision: fidelity →", places.iter().map(|at| at.1))?,
            rulers: Vec::new(),
            items,
            height: 1.0,
        },
        models: context.legend(),
        caption: format!(
            "Up and to the right is better. Each line is one model over settings of its {name}; a ring is the model without the \
             knob, as it is in the table. Models without it are their ring alone."
        ),
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
    let points = |row: &ModelRow| -> Vec<Point> {
        let points = settings(row, knob).into_iter();
        points.map(|(value, s)| (value, s.frechet_distance_excess, value == 1.0)).collect()
    };
    context.distances_on(&format!("Distance against {name}"), &points, |values| {
        Axis::linear(&name, values)
    })
}

/// The distance within each class.
pub fn classes<'a>(context: &Context<'a>) -> Option<Plotted<'a>> {
    let classes = context.classes();
    let value = |row: &ModelRow, class: &str, score: fn(&crate::ClassScore) -> &Score| {
        let found = row.per_class.iter().find(|score| score.class == class)?;
        score(found).value().filter(|value| *value > 0.0)
    };
    let (mut items, mut values) = (Vec::new(), Vec::new());
    for (index, class) in classes.iter().enumerate() {
        let y = -(index as f64);
        let mut floors = context.results.rows.iter();
        if let Some(floor) = floors.find_map(|row| value(row, class, |score| &score.floor)) {
            items.push(Item::Stroke { at: (floor, y), upright: true });
            values.push(floor);
        }
        for (model, group) in context.groups.iter().enumerate() {
            let of_class = |row: &&ModelRow| value(row, class, |score| &score.frechet_distance);
            let found: Vec<f64> = group.rows.iter().filter_map(of_class).collect();
            if !found.is_empty() {
                let mean = found.iter().sum::<f64>() / found.len() as f64;
                items.push(Item::Mark { model, at: (mean, y), look: Look::Plain });
                values.push(mean);
            }
        }
    }
    Some(Plotted {
        plot: Plot {
            title: "Fréchet distance within each class".to_owned(),
            x: Axis::log("Fréchet distance to the class's training images", values.into_iter())?,
            y: Axis::list("", &classes),
            rulers: Vec::new(),
            items,
            height: (0.2 + 0.08 * classes.len() as f64).max(0.6),
        },
        models: context.legend(),
        caption: "Further left is better; the stroke is what test images of the class score. With few images a class the \
                  distance is biased upwards, alike for all."
            .to_owned(),
    })
}

/// How far each model is behind the best, in the features of each network.
pub fn features<'a>(context: &Context<'a>) -> Option<Plotted<'a>> {
    let split = context.split.as_ref()?;
    let extractors = context.extractors();
    if extractors.len() < 2 || context.groups.len() < 2 {
        return None;
    }
    let excess = |row: &ModelRow, extractor: &str| {
        let scores = context.in_features(&row.scores.features, &row.other_features, extractor)?;
        scores.frechet_distance_excess.get(split)?.value()
    };
    let mut lines: Vec<Vec<(f64, f64)>> = vec![Vec::new(); context.groups.len()];
    for (index, extractor) in extractors.iter().enumerate() {
        let mean = |group: &crate::SeedGroup<'_>| {
            let found: Vec<f64> =
                group.rows.iter().filter_map(|row| excess(row, extractor)).collect();
            (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
        };
        let means: Vec<Option<f64>> = context.groups.iter().map(mean).collect();
        let positive = means.iter().flatten().copied().filter(|mean| *mean > 0.0);
        let Some(best) = positive.reduce(f64::min) else { continue };
        for (line, mean) in lines.iter_mut().zip(means) {
            line.extend(mean.map(|mean| (mean.max(best) / best, -(index as f64))));
        }
    }
    let values: Vec<f64> = lines.iter().flatten().map(|at| at.0).collect();
    let drawn = |(model, points): (usize, Vec<(f64, f64)>)| {
        let marks: Vec<Item> =
            points.iter().map(|at| Item::Mark { model, at: *at, look: Look::Plain }).collect();
        std::iter::once(Item::Line { ink: Ink::Model(model), points, faint: true }).chain(marks)
    };
    Some(Plotted {
        plot: Plot {
            title: "The ranking in each network's features".to_owned(),
            x: Axis::log("FD − floor over that of the best model", values.into_iter())?,
            y: Axis::list("", &extractors),
            rulers: Vec::new(),
            items: lines.into_iter().enumerate().flat_map(drawn).collect(),
            height: (0.25 + 0.15 * extractors.len() as f64).max(0.5),
        },
        models: context.legend(),
        caption: "Further left is better, 1 is the best model of a row. Lines that cross are pairs of models whose order \
                  depends on the features."
            .to_owned(),
    })
}

/// What a curve's scores would say of the model as it is.
struct Itself {
    excess: f64,
    precision: f64,
    recall: f64,
}

impl<'a> Context<'a> {
    /// Every model with its training rows.
    fn rows(&self) -> impl Iterator<Item = (usize, &'a ModelRow)> {
        let group = |(model, group): (usize, &crate::SeedGroup<'a>)| {
            group.rows.iter().map(|row| (model, *row)).collect::<Vec<_>>()
        };
        self.groups.iter().enumerate().flat_map(group).collect::<Vec<_>>().into_iter()
    }

    /// The model that a curve belongs to.
    fn model_of(&self, run: Option<&str>, model: &str) -> Option<usize> {
        let mut rows = self.rows();
        let same = |row: &ModelRow| row.run.as_deref() == run && row.model == model;
        rows.find(|(_, row)| same(row)).map(|(index, _)| index)
    }

    fn legend(&self) -> Vec<(usize, &'a str)> {
        self.titles.iter().enumerate().map(|(index, title)| (index, title.as_str())).collect()
    }

    /// Scores of a model's own setting, of as many images as its curves if there are such.
    fn itself(&self, row: &ModelRow) -> Option<Itself> {
        if let Some(last) = row.curves.training.last() {
            let PointScores { frechet_distance_excess: excess, precision, recall, .. } =
                last.scores;
            return Some(Itself { excess, precision, recall });
        }
        let (split, features) = (self.split.as_ref()?, &row.scores.features);
        Some(Itself {
            excess: features.frechet_distance_excess.get(split)?.value()?,
            precision: features.precision.get(split)?.value()?,
            recall: features.recall.get(split)?.value()?,
        })
    }

    /// Distances against something, both logarithmic, with the known defects as rulers.
    fn distances(
        &self,
        title: &str,
        label: &str,
        points: &dyn Fn(&ModelRow) -> Vec<Point>,
    ) -> Option<Plotted<'a>> {
        self.distances_on(title, points, |values| Axis::log(label, values))
    }

    fn distances_on(
        &self,
        title: &str,
        points: &dyn Fn(&ModelRow) -> Vec<Point>,
        axis: impl Fn(std::vec::IntoIter<f64>) -> Option<Axis>,
    ) -> Option<Plotted<'a>> {
        let (mut lines, mut marks, mut xs, mut ys) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut below = 0;
        let mut legend = Vec::new();
        for (model, row) in self.rows() {
            let mut points = points(row);
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (x, y, headline) in &points {
                let look = if *headline { Look::Ringed } else { Look::Small };
                marks.push(Item::Mark { model, at: (*x, *y), look });
                xs.push(*x);
                ys.push(*y);
                below += usize::from(*y <= 0.0);
            }
            if !points.is_empty() && legend.last() != Some(&(model, self.titles[model].as_str())) {
                legend.push((model, self.titles[model].as_str()));
            }
            let points = points.into_iter().map(|(x, y, _)| (x, y)).collect();
            lines.push(Item::Line { ink: Ink::Model(model), points, faint: false });
        }
        let positive = || ys.iter().copied().filter(|y| *y > 0.0);
        let (low, high) = (positive().reduce(f64::min)?, positive().reduce(f64::max)?);
        let near = |level: f64| (low / NEAR..=high * NEAR).contains(&level);
        let rulers: Vec<(String, f64)> =
            self.rulers.iter().filter(|(_, level)| near(*level)).cloned().collect();
        let ringed = marks.iter().any(|mark| matches!(mark, Item::Mark { look: Look::Ringed, .. }));
        let mut caption = vec!["Lower is better."];
        if !rulers.is_empty() {
            caption.push("Dashed: test images with known defects.");
        }
        if ringed {
            caption.push("A ring is the setting of the table.");
        }
        if self.groups.iter().any(|group| group.rows.len() > 1) {
            caption.push("One line a training seed.");
        }
        if below > 0 {
            caption.push("Points on the lower edge are no worse than test images.");
        }
        let y = Axis::log(EXCESS, ys.iter().copied().chain(rulers.iter().map(|ruler| ruler.1)))?;
        Some(Plotted {
            plot: Plot {
                title: title.to_owned(),
                x: axis(xs.into_iter())?,
                y,
                rulers,
                items: lines.into_iter().chain(marks).collect(),
                height: 1.0,
            },
            models: legend,
            caption: caption.join(" "),
        })
    }
}
