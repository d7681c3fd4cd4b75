//! How losses went.

use super::{LearningCurve, context::Context, figure::Plotted};
use crate::plot::{Axis, Ink, Item, Plot};
use std::collections::BTreeMap;

/// Points of a learning curve; more are averaged.
const LEARNING_POINTS: usize = 150;

/// The loss of each model against images seen, one plot a scalar.
pub fn plots<'a>(context: &Context<'a>, curves: &[LearningCurve]) -> Vec<Plotted<'a>> {
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
    let count = finite.len().min(LEARNING_POINTS);
    let start = |index: usize| index * finite.len() / count;
    (0..count).map(|index| bin(&finite[start(index)..start(index + 1)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_averaged_without_losing_a_value() {
        let points: Vec<(u64, f64)> = (0..1000).map(|i| (i, i as f64)).collect();
        let bins = bins(&points);
        assert_eq!(bins.len(), LEARNING_POINTS);
        assert_eq!((bins[0].low, bins[LEARNING_POINTS - 1].high), (0.0, 999.0));
        assert!(bins.windows(2).all(|pair| pair[0].high + 1.0 == pair[1].low));
        assert!(bins.iter().all(|bin| bin.x == bin.mean && bin.low <= bin.mean));
        assert!(super::bins(&[(1, f64::NAN)]).is_empty());
    }
}
