//! Learning curves out of what trainings logged.

use super::Compared;
use crate::log::Record;
use anyhow::{Context, Result};
use paragone_report::LearningCurve;
use std::{collections::BTreeMap, fs};

/// Points of a curve, at most; of more, means of neighbours are shown.
const POINTS: usize = 200;

/// The losses of every model, and whatever else it logs in bits per dimension.
pub fn curves(runs: &[Compared]) -> Result<Vec<LearningCurve>> {
    let mut curves = Vec::new();
    for run in runs {
        for model in &run.models {
            let file = run.run.model(&model.name).metrics();
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let mut scalars: BTreeMap<String, Vec<(u64, f64)>> = BTreeMap::new();
            for (number, line) in text.lines().enumerate() {
                let record: Record = serde_json::from_str(line).with_context(|| {
                    format!("{} is damaged in line {}", file.display(), number + 1)
                })?;
                for (name, value) in record.scalars.into_iter().filter(|(name, _)| is_shown(name)) {
                    scalars.entry(name).or_default().push((record.images, value));
                }
            }
            let of_scalar = |(scalar, points): (String, Vec<(u64, f64)>)| LearningCurve {
                run: (runs.len() > 1).then(|| run.run.path().display().to_string()),
                model: model.name.clone(),
                scalar,
                points: thinned(&points),
            };
            curves.extend(scalars.into_iter().map(of_scalar));
        }
    }
    Ok(curves)
}

fn is_shown(name: &str) -> bool {
    name.ends_with(".loss") || name.ends_with(".bits_per_dim") || name.ends_with(".elbo")
}

/// Means of runs of neighbours, so many that no more than [`POINTS`] are left.
fn thinned(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let mean = |chunk: &[(u64, f64)]| {
        let sum: f64 = chunk.iter().map(|(_, value)| value).sum();
        (chunk[chunk.len() - 1].0, sum / chunk.len() as f64)
    };
    points.chunks(points.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_thinned_and_short_ones_kept() {
        let points: Vec<(u64, f64)> = (0..1000).map(|i| (i, i as f64)).collect();
        let thin = thinned(&points);
        assert_eq!((thin.len(), thin[0], thin[199]), (200, (4, 2.0), (999, 997.0)));
        assert_eq!(thinned(&points[..3]), points[..3]);
        assert!(thinned(&[]).is_empty());
    }
}
