//! Whether runs compare: the same data, the same order within a seed, the same protocol of scores.

use super::Compared;
use crate::evaluate::{BySplit, Scored};
use anyhow::{Result, bail};
use paragone_metrics::Protocol;
use serde::Serialize;
use std::collections::BTreeMap;

/// The protocols of a comparison: equal for all that is in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Protocols {
    /// In the headline's features, by reference split.
    #[serde(flatten)]
    pub splits: BTreeMap<String, Protocol>,
    /// In other features, by extractor and split.
    pub other_features: BTreeMap<String, BTreeMap<String, Protocol>>,
}

impl Protocols {
    /// Those of a run.
    ///
    /// # Errors
    /// Names two of its sets of images that were scored under different ones.
    pub fn of(run: &Compared) -> Result<Self> {
        let mut first: Option<(String, Self)> = None;
        for (name, protocols) in Self::all(run) {
            match &first {
                None => first = Some((name, protocols)),
                Some((known, of_known)) => {
                    if let Some(difference) = of_known.difference(&protocols) {
                        bail!(
                            "{known} and {name} do not compare: of their protocols, {difference}; `paragone eval {}` \
                             scores them anew",
                            run.run.path().display()
                        );
                    }
                }
            }
        }
        let none = Self { splits: BTreeMap::new(), other_features: BTreeMap::new() };
        Ok(first.map_or(none, |(_, protocols)| protocols))
    }

    /// Those of every set of images in a run that was scored against all splits.
    fn all(run: &Compared) -> impl Iterator<Item = (String, Self)> {
        let of_model = |model: &super::Model| {
            let dir = run.run.model(&model.name);
            (dir.path().display().to_string(), Self::of_scored(&model.scores.features))
        };
        let rows = run.calibration.rows.iter().filter_map(|row| {
            let scored = row.features.as_ref().ok()?;
            Some((format!("{} of {}", row.name, run.run.path().display()), Self::of_scored(scored)))
        });
        run.models.iter().map(of_model).chain(rows)
    }

    fn of_scored(scored: &Scored) -> Self {
        let of_splits = |splits: &BySplit| {
            splits.iter().map(|(split, scores)| (split.clone(), scores.protocol.clone())).collect()
        };
        let others = scored.other_features.iter();
        Self {
            splits: of_splits(&scored.splits),
            other_features: others
                .map(|(name, splits)| (name.clone(), of_splits(splits)))
                .collect(),
        }
    }

    /// The first field in which two differ, with both values.
    fn difference(&self, other: &Self) -> Option<String> {
        let mut pairs = vec![(&self.splits, Some(&other.splits))];
        let others = self.other_features.iter();
        pairs.extend(others.map(|(name, splits)| (splits, other.other_features.get(name))));
        for (ours, theirs) in pairs {
            for (split, protocol) in ours {
                let Some(other) = theirs.and_then(|theirs| theirs.get(split)) else {
                    return Some(format!(
                        "only one compares {} with the {split} split",
                        protocol.features
                    ));
                };
                if let Some(difference) = protocol.difference(other) {
                    return Some(difference);
                }
            }
        }
        None
    }
}

/// Refuses runs that were trained on other data, within a seed on other images at other times, or scored otherwise.
pub fn check(first: &Compared, other: &Compared) -> Result<()> {
    let difference = if first.manifest.data_hash != other.manifest.data_hash {
        Some("they were trained on different images".to_owned())
    } else if first.experiment.data.condition != other.experiment.data.condition {
        Some("of their data, condition differs".to_owned())
    } else if first.manifest.seed == other.manifest.seed
        && first.manifest.order_hash != other.manifest.order_hash
    {
        Some("of one seed, they saw their images in different orders".to_owned())
    } else {
        let difference = Protocols::of(first)?.difference(&Protocols::of(other)?);
        difference.map(|what| {
            format!("of their protocols, {what}; `paragone eval` scores a run anew, `--allow-mismatch` shows them apart")
        })
    };
    match difference {
        None => Ok(()),
        Some(what) => {
            let (a, b) = (first.run.path().display(), other.run.path().display());
            bail!("{a} and {b} do not compare: {what}")
        }
    }
}

/// What scores were taken over, on one line.
pub fn circumstances(protocol: &Protocol) -> String {
    format!(
        "{} samples against {} {} images, features {}",
        protocol.samples, protocol.reference_images, protocol.reference_split, protocol.features
    )
}
