//! When a model became as good as something known.

use super::{
    context::Context,
    markup::{escaped, thousands},
    table::{Look, render},
};
use crate::{
    ModelRow, TrainingPoint,
    plot::written,
    table::{Better, Cell},
};

/// Seconds of training to the quality of each known defect; nothing without curves.
pub fn table(context: &Context<'_>) -> String {
    if context.rulers.is_empty()
        || context.results.rows.iter().all(|row| row.curves.training.is_empty())
    {
        return String::new();
    }
    let mut table = context.models_only();
    table.names();
    let mut meanings = Vec::new();
    for (name, level) in context.rulers.iter().rev() {
        let reached = |row: &ModelRow| seconds_to(&row.curves.training, *level);
        table.column(name, Better::Lower, reached, |_| Cell::Text(String::new()));
        meanings.push((name.as_str(), format!("FD − floor of {name}: {}", rounded(*level))));
    }
    let meanings: Vec<(&str, &str)> = meanings.iter().map(|(n, m)| (*n, m.as_str())).collect();
    let look = Look {
        id: "levels",
        caption: "Seconds of training to the quality of known defects",
        groups: &[],
        meanings: &meanings,
        models: context.groups.len(),
    };
    let levels: Vec<String> = (context.rulers.iter().rev())
        .map(|(name, level)| format!("{name} {}", rounded(*level)))
        .collect();
    let about = format!(
        "When FD − floor first fell below that of test images with a defect ({}), read off the curves of {} images a point, \
         linearly in the logarithm of time; ≤ where the first point was there already.",
        levels.join(", "),
        thousands(context.curve_samples()),
    );
    render(&table.table, &look) + &format!("<p class=\"note\">{}</p>\n", escaped(&about))
}

fn rounded(value: f64) -> String {
    written((value * 100.0).round() / 100.0)
}

/// Seconds of training after which the excess of the Fréchet distance is at most `level` for the first time: linear in the
/// logarithm of time between the points of the curve, a bound where its first point is that good.
fn seconds_to(points: &[TrainingPoint], level: f64) -> Cell {
    let excess = |point: &TrainingPoint| point.scores.frechet_distance_excess;
    let Some(reached) = points.iter().position(|point| excess(point) <= level) else {
        return Cell::missing(match points {
            [] => "no scores were taken along its training",
            _ => "not reached in its training",
        });
    };
    let after = &points[reached];
    match points[..reached].last().filter(|before| before.seconds > 0.0) {
        None => Cell::Value { mean: after.seconds, spread: None, kind: Some("bound".to_owned()) },
        Some(before) => {
            let share = (excess(before) - level) / (excess(before) - excess(after));
            let (from, to) = (before.seconds.ln(), after.seconds.ln());
            Cell::number((from + share * (to - from)).exp())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PointScores;

    fn curve(points: &[(f64, f64)]) -> Vec<TrainingPoint> {
        let scores = |excess| PointScores {
            frechet_distance: excess + 1.0,
            frechet_distance_excess: excess,
            precision: 0.5,
            recall: 0.5,
            conditional_accuracy: None,
        };
        let point = |&(seconds, excess): &(f64, f64)| TrainingPoint {
            images: 0,
            seconds,
            flops: 0.0,
            scores: scores(excess),
        };
        points.iter().map(point).collect()
    }

    #[test]
    fn time_is_read_off_the_curve() {
        // Halfway from 10 to 2 in the distance is halfway from 1 to 100 in the logarithm of time.
        let points = curve(&[(1.0, 10.0), (100.0, 2.0), (200.0, 1.0)]);
        let Cell::Value { mean, kind: None, .. } = seconds_to(&points, 6.0) else { panic!() };
        assert!((mean - 10.0).abs() < 1e-12);
        let at_point = seconds_to(&points, 2.0);
        assert!(matches!(at_point, Cell::Value { mean, .. } if (mean - 100.0).abs() < 1e-9));
    }

    #[test]
    fn what_the_curve_does_not_tell_is_said() {
        let points = curve(&[(1.0, 10.0), (100.0, 2.0)]);
        let first = Cell::Value { mean: 1.0, spread: None, kind: Some("bound".into()) };
        assert_eq!(seconds_to(&points, 11.0), first);
        assert_eq!(seconds_to(&points, 1.0), Cell::missing("not reached in its training"));
        assert_eq!(seconds_to(&[], 1.0), Cell::missing("no scores were taken along its training"));
        // The logarithm of no time is none: what is known is the end.
        let from_nothing = seconds_to(&curve(&[(0.0, 9.0), (5.0, 1.0)]), 3.0);
        assert!(matches!(from_nothing, Cell::Value { mean: 5.0, kind: Some(_), .. }));
    }
}
