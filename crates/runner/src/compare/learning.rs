//! Learning curves out of what trainings logged.

use super::Compared;
use crate::log::Record;
use anyhow::{Context, Result};
use paragone_report::LearningCurve;
use std::{collections::BTreeMap, fs};

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
                points,
            };
            curves.extend(scalars.into_iter().map(of_scalar));
        }
    }
    Ok(curves)
}

fn is_shown(name: &str) -> bool {
    name.ends_with(".loss") || name.ends_with(".bits_per_dim") || name.ends_with(".elbo")
}
