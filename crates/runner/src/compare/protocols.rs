//! Whether runs compare: the same data, the same order within a seed, the same protocol of scores.

use super::Compared;
use crate::{
    config::{Change, CurvesConfig, EditingConfig, EvalConfig, InpaintingConfig},
    evaluate::{Basis, BySplit, Scored},
};
use anyhow::{Context, Result, bail};
use paragone_data::DataConfig;
use paragone_metrics::Protocol;
use serde::Serialize;
use std::collections::BTreeMap;

/// The protocols of a comparison: equal for all that is in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Protocols {
    /// In the headline's features, by reference split.
    #[serde(flatten)]
    pub splits: BTreeMap<String, Protocol>,
    /// In other features, by extractor and split.
    pub other_features: BTreeMap<String, BTreeMap<String, Protocol>>,
    /// Of what is no comparison of features; `None` where nothing was scored.
    pub other_scores: Option<OtherScores>,
}

/// What scores other than comparisons of features depend on; `None` where such scores were not taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherScores {
    version: u32,
    test_hash: String,
    judge_hash: Option<String>,
    likelihood_images: u64,
    memorization_samples: Option<u64>,
    curves: Option<CurvesConfig>,
    inpainting: Option<InpaintingConfig>,
    editing: Option<EditingConfig>,
}

impl OtherScores {
    fn of(basis: &Basis) -> Result<Self> {
        let eval: EvalConfig = serde_json::from_value(basis.eval.clone())?;
        Ok(Self {
            version: basis.version,
            test_hash: basis.test_hash.clone(),
            judge_hash: basis.judge_hash.clone(),
            likelihood_images: eval.likelihood_images,
            memorization_samples: Some(eval.memorization_samples).filter(|&samples| samples > 0),
            curves: Some(eval.curves).filter(|curves| curves.samples > 0),
            inpainting: Some(eval.inpainting).filter(|holes| holes.images > 0),
            editing: Some(eval.editing).filter(|editing| editing.pairs > 0),
        })
    }

    /// The first field in which two differ, with both values. What only one of them has is mixed with nothing.
    fn difference(&self, other: &Self) -> Option<String> {
        fn both<T: Clone>(ours: &Option<T>, theirs: &Option<T>) -> Option<T> {
            ours.clone().filter(|_| theirs.is_some())
        }
        let shared = |ours: &Self, theirs: &Self| Self {
            judge_hash: both(&ours.judge_hash, &theirs.judge_hash),
            memorization_samples: both(&ours.memorization_samples, &theirs.memorization_samples),
            curves: both(&ours.curves, &theirs.curves),
            inpainting: both(&ours.inpainting, &theirs.inpainting),
            editing: both(&ours.editing, &theirs.editing),
            ..ours.clone()
        };
        Change::between(&shared(self, other), &shared(other, self)).map(against)
    }
}

fn against(Change { key, then, now }: Change) -> String {
    format!("{key} is {then} against {now}")
}

impl Protocols {
    /// Those of a run.
    ///
    /// # Errors
    /// Names two of its sets of images that were scored under different ones.
    pub fn of(run: &Compared) -> Result<Self> {
        let mut first: Option<(String, Self)> = None;
        for (name, protocols) in Self::all(run)? {
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
        Ok(first.map(|(_, protocols)| protocols).unwrap_or_default())
    }

    /// Those of every set of images in a run that was scored against all splits.
    fn all(run: &Compared) -> Result<Vec<(String, Self)>> {
        let place = run.run.path().display();
        let models = run.models.iter().map(|model| {
            let name = run.run.model(&model.name).path().display().to_string();
            (name, &model.scores.features, &model.scores.settings.basis)
        });
        let rows = run.calibration.rows.iter().filter_map(|row| {
            let scored = row.features.as_ref().ok()?;
            Some((format!("{} of {place}", row.name), scored, &run.calibration.basis))
        });
        let protocols = models.chain(rows).map(|(name, scored, basis)| {
            let protocols = Self::of_scored(scored, basis).with_context(|| {
                format!(
                    "{name} was scored by another version; `paragone eval {place}` scores it anew"
                )
            })?;
            Ok((name, protocols))
        });
        protocols.collect()
    }

    fn of_scored(scored: &Scored, basis: &Basis) -> Result<Self> {
        let of_splits = |splits: &BySplit| {
            splits.iter().map(|(split, scores)| (split.clone(), scores.protocol.clone())).collect()
        };
        let others = scored.other_features.iter();
        Ok(Self {
            splits: of_splits(&scored.splits),
            other_features: others
                .map(|(name, splits)| (name.clone(), of_splits(splits)))
                .collect(),
            other_scores: Some(OtherScores::of(basis)?),
        })
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
        self.other_scores.as_ref()?.difference(other.other_scores.as_ref()?)
    }
}

/// What training makes of its images, whatever the seed.
fn presented(data: &DataConfig) -> serde_json::Value {
    serde_json::json!({
        "condition": data.condition,
        "flip": data.flip,
        "drop_condition": data.drop_condition,
        "masks": data.masks,
    })
}

/// Refuses runs that were trained on other data, within a seed on other images at other times, or scored otherwise.
pub fn check(first: &Compared, other: &Compared) -> Result<()> {
    let difference = if first.manifest.data_hash != other.manifest.data_hash {
        Some("they were trained on different images".to_owned())
    } else if let Some(change) =
        Change::between(&presented(&first.experiment.data), &presented(&other.experiment.data))
    {
        Some(format!("of their data, {}", against(change)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn other_scores(change: impl Fn(&mut EvalConfig)) -> OtherScores {
        let mut eval = EvalConfig::default();
        change(&mut eval);
        let basis = Basis {
            version: 1,
            eval: serde_json::to_value(&eval).unwrap(),
            train_hash: String::new(),
            test_hash: "ab".to_owned(),
            features_hash: String::new(),
            other_features_hashes: Vec::new(),
            judge_hash: None,
            device: "cpu".to_owned(),
        };
        OtherScores::of(&basis).unwrap()
    }

    #[test]
    fn scores_that_both_have_were_taken_alike() {
        let (few, many) = (
            other_scores(|eval| eval.inpainting.images = 50),
            other_scores(|eval| eval.inpainting.images = 200),
        );
        assert_eq!(few.difference(&many).unwrap(), "inpainting.images is 50 against 200");
        let known = OtherScores { test_hash: "cd".to_owned(), ..few.clone() };
        assert_eq!(few.difference(&known).unwrap(), "test_hash is \"ab\" against \"cd\"");
        // Nothing is filled in one of them.
        let none = other_scores(|_| ());
        assert_eq!((few.difference(&none), none.difference(&many)), (None, None));
        let curves = other_scores(|eval| eval.curves.samples = 500);
        assert_eq!(none.difference(&curves).unwrap(), "curves.samples is 1000 against 500");
    }
}
