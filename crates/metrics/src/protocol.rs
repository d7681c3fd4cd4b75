//! The circumstances of a score. Two scores compare only if their protocols are equal.

use serde::{Deserialize, Serialize};

/// All that a score depends on besides the generated images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// Images that were generated and scored.
    pub samples: i64,
    /// Split of the data that they were compared with: `train` or `test`.
    pub reference_split: String,
    /// Images of that split that moments and kernel distances are taken over.
    pub reference_images: i64,
    /// SHA-256 of the split.
    pub reference_hash: String,
    /// Name of the feature extractor.
    pub features: String,
    /// SHA-256 of the extractor's weights.
    pub features_hash: String,
    /// Subsets of the kernel distance.
    pub kernel_subsets: i64,
    /// Images in each of them.
    pub kernel_subset_size: i64,
    /// Images of each set that nearest-neighbour scores use.
    pub neighbour_images: i64,
    /// Neighbours of precision and recall.
    pub precision_recall_k: i64,
    /// Neighbours of density and coverage.
    pub density_coverage_k: i64,
    /// Seed of the subsets.
    pub subset_seed: u64,
    /// Seeds of the samples.
    pub sample_seeds: Vec<u64>,
}

impl Protocol {
    /// The first field, by name, in which two protocols differ, with both values: why their scores do not compare.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let fields = |protocol| match serde_json::to_value(protocol) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("a struct of strings and numbers is a JSON object"),
        };
        let (ours, theirs) = (fields(self), fields(other));
        let (name, value) = ours.iter().find(|(name, value)| theirs[*name] != **value)?;
        Some(format!("{name} is {value} against {}", theirs[name]))
    }
}

#[cfg(test)]
pub(crate) fn example() -> Protocol {
    Protocol {
        samples: 10_000,
        reference_split: "train".into(),
        reference_images: 60_000,
        reference_hash: "ab".into(),
        features: "classifier/fashion-mnist".into(),
        features_hash: "cd".into(),
        kernel_subsets: 100,
        kernel_subset_size: 1000,
        neighbour_images: 10_000,
        precision_recall_k: 3,
        density_coverage_k: 5,
        subset_seed: 0,
        sample_seeds: vec![0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_tells() {
        let json = serde_json::to_value(example()).unwrap();
        for (name, value) in json.as_object().unwrap() {
            let mut other = json.clone();
            other[name] = match value {
                serde_json::Value::String(text) => format!("{text}x").into(),
                serde_json::Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
                serde_json::Value::Array(_) => vec![7].into(),
                _ => panic!("{name} is of an unexpected kind"),
            };
            let other: Protocol = serde_json::from_value(other).unwrap();
            let difference = example().difference(&other).unwrap();
            assert!(difference.starts_with(&format!("{name} is ")), "{difference}");
        }
    }

    #[test]
    fn a_difference_gives_both_values() {
        let other = Protocol { samples: 500, ..example() };
        assert_eq!(example().difference(&other).unwrap(), "samples is 10000 against 500");
        assert_eq!(example().difference(&example()), None);
    }
}
