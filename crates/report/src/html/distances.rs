//! Distance against what training and sampling took.

use super::{context::Context, figure::Plotted};
use crate::{
    ModelRow, SamplingPoint, TrainingPoint,
    plot::{Axis, Ink, Item, Look, Plot},
};

/// What distances are called on axes.
const EXCESS: &str = "FD − floor";
/// What thin lines are.
pub const SEEDS: &str = " Thin lines are single training seeds, thick ones their means.";
/// How far beyond the models' scores a known defect may lie to be drawn.
const NEAR: f64 = 2.0;

/// A place on a plot that a model reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Abscissa.
    pub x: f64,
    /// Ordinate.
    pub y: f64,
    /// What was chosen to get there, such as a number of network calls.
    pub setting: Option<f64>,
    /// Whether the table's row was made so.
    pub headline: bool,
}

/// Points in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The points.
    pub points: Vec<Point>,
    /// Whether it stands behind the mean of several.
    pub faint: bool,
}

/// Title, label of the abscissa, and the abscissa of a point of training.
type TrainingAxis = (&'static str, &'static str, fn(&TrainingPoint) -> f64);
/// The same of network calls and seconds of an image.
type SamplingAxis = (&'static str, &'static str, fn(u64, f64) -> f64);

const TRAINING: [TrainingAxis; 3] = [
    ("Quality against training time", "training time in seconds", |point| point.seconds),
    ("Quality against training compute", "training FLOPs", |point| point.flops),
    ("Quality against images seen", "training images seen", |point| point.images as f64),
];
const SAMPLING: [SamplingAxis; 2] = [
    ("Quality against network calls", "network calls an image", |calls, _| calls as f64),
    ("Quality against sampling time", "milliseconds an image", |_, seconds| 1e3 * seconds),
];

/// Quality against what training took: seconds, FLOPs, images.
pub fn training<'a>(context: &Context<'a>) -> Vec<Plotted<'a>> {
    let plot = |(title, label, x): TrainingAxis| {
        let point = |point: &TrainingPoint| Point {
            x: x(point),
            y: point.scores.frechet_distance_excess,
            setting: None,
            headline: false,
        };
        let points = |row: &ModelRow| row.curves.training.iter().map(point).collect();
        context.distances(title, &points, |values| Axis::log(label, values))
    };
    TRAINING.into_iter().filter_map(plot).collect()
}

/// Quality against what an image takes: network calls, seconds.
pub fn sampling<'a>(context: &Context<'a>) -> Vec<Plotted<'a>> {
    if context.results.rows.iter().all(|row| row.curves.sampling.is_empty()) {
        return Vec::new();
    }
    let plot = |(title, label, x): SamplingAxis| {
        let points = |row: &ModelRow| {
            let own = &row.sampling;
            let point = |calls: u64, seconds: f64, excess: f64| Point {
                x: x(calls, seconds),
                y: excess,
                setting: Some(calls as f64),
                headline: calls == own.network_calls,
            };
            if row.curves.sampling.is_empty() {
                let itself = context
                    .itself(row)
                    .map(|scores| point(own.network_calls, own.seconds_per_image, scores.excess));
                return itself.into_iter().collect();
            }
            let chosen = |at: &SamplingPoint| {
                let excess = at.scores.frechet_distance_excess;
                point(at.network_calls, at.seconds_per_image, excess)
            };
            row.curves.sampling.iter().map(chosen).collect()
        };
        context.distances(title, &points, |values| Axis::log(label, values))
    };
    SAMPLING.into_iter().filter_map(plot).collect()
}

impl<'a> Context<'a> {
    /// Distances against something, on a logarithmic axis with the known defects as rulers; `None` without any.
    pub fn distances(
        &self,
        title: &str,
        points: &dyn Fn(&ModelRow) -> Vec<Point>,
        axis: impl Fn(std::vec::IntoIter<f64>) -> Option<Axis>,
    ) -> Option<Plotted<'a>> {
        let (mut drawn, mut marks, mut xs, mut ys) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut below = 0;
        let mut legend = Vec::new();
        for (model, group) in self.groups.iter().enumerate() {
            let of_row = |row: &&ModelRow| {
                let mut points = points(row);
                points.sort_by(|a, b| a.x.total_cmp(&b.x));
                points
            };
            let trainings: Vec<_> = group.rows.iter().map(of_row).collect();
            if trainings.iter().any(|points| !points.is_empty()) {
                legend.push((model, self.titles[model].as_str()));
            }
            for line in lines(trainings) {
                for point in &line.points {
                    xs.push(point.x);
                    ys.push(point.y);
                    below += usize::from(point.y <= 0.0);
                }
                if !line.faint {
                    marks.extend(line.marks(model));
                }
                drawn.push(line.drawn(model));
            }
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
        if self.several_seeds() {
            caption.push(SEEDS.trim_start());
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
                items: drawn.into_iter().chain(marks).collect(),
                height: 1.0,
            },
            models: legend,
            caption: caption.join(" "),
        })
    }
}

/// The line of one training; of several, their mean, and each of them faintly behind it. Trainings whose points are not of the
/// same settings have no mean and are drawn alike.
pub fn lines(trainings: Vec<Vec<Point>>) -> Vec<Line> {
    let settings = |points: &[Point]| -> Vec<(Option<f64>, bool)> {
        points.iter().map(|point| (point.setting, point.headline)).collect()
    };
    let alike = trainings.windows(2).all(|pair| settings(&pair[0]) == settings(&pair[1]));
    let several = trainings.len() > 1 && alike;
    let mean = several.then(|| Line { points: mean(&trainings), faint: false });
    let lines = trainings.into_iter().map(|points| Line { points, faint: several });
    lines.chain(mean).collect()
}

/// The mean of lines, point by point.
fn mean(lines: &[Vec<Point>]) -> Vec<Point> {
    let n = lines.len() as f64;
    let point = |(index, point): (usize, &Point)| {
        let mean =
            |of: fn(&Point) -> f64| lines.iter().map(|line| of(&line[index])).sum::<f64>() / n;
        Point { x: mean(|point| point.x), y: mean(|point| point.y), ..*point }
    };
    lines[0].iter().enumerate().map(point).collect()
}

impl Line {
    /// The line itself.
    pub fn drawn(&self, model: usize) -> Item {
        let points = self.points.iter().map(|point| (point.x, point.y)).collect();
        Item::Line { ink: Ink::Model(model), points, faint: self.faint }
    }

    /// Its points, the headline's in a ring.
    pub fn marks(&self, model: usize) -> impl Iterator<Item = Item> {
        self.points.iter().map(move |point| {
            let look = if point.headline { Look::Ringed } else { Look::Small };
            Item::Mark { model, at: (point.x, point.y), look }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: &[(f64, f64, f64)]) -> Vec<Point> {
        let point = |&(x, y, setting): &(f64, f64, f64)| Point {
            x,
            y,
            setting: Some(setting),
            headline: setting == 1.0,
        };
        points.iter().map(point).collect()
    }

    #[test]
    fn several_seeds_have_a_mean_where_their_settings_are_the_same() {
        let one = line(&[(1.0, 2.0, 1.0), (3.0, 4.0, 2.0)]);
        let two = line(&[(2.0, 4.0, 1.0), (3.0, 5.0, 2.0)]);
        let mean = line(&[(1.5, 3.0, 1.0), (3.0, 4.5, 2.0)]);
        let of = |points: &Vec<Point>, faint| Line { points: points.clone(), faint };
        let want = [of(&one, true), of(&two, true), of(&mean, false)];
        assert_eq!(lines(vec![one.clone(), two]), want);
        assert_eq!(lines(vec![one.clone()]), [of(&one, false)]);
        for other in [line(&[(1.0, 2.0, 1.0)]), line(&[(1.0, 2.0, 1.0), (3.0, 4.0, 3.0)])] {
            let want = [of(&one, false), of(&other, false)];
            assert_eq!(lines(vec![one.clone(), other]), want);
        }
    }
}
