//! Quantities that are written as one key and a number: `{ images: 200000 }`, `{ seconds: 600 }`.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// How much training every model gets: equal data, equal time or equal compute.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Budget {
    /// Training images shown, repeats counted.
    Images(u64),
    /// Seconds of training, turned into a number of images before the first step.
    Seconds(f64),
    /// Floating-point operations of training, turned into a number of images before the first step.
    Flops(f64),
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images(images) => write!(f, "{images} images"),
            Self::Seconds(seconds) => write!(f, "{seconds} seconds"),
            Self::Flops(flops) => write!(f, "{flops:e} FLOPs"),
        }
    }
}

/// How often something is done while training.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Interval {
    /// Share of the budget between two times, such as 0.1.
    Share(f64),
    /// Seconds between two times.
    Seconds(f64),
}

// serde writes such enums as YAML tags (`!images 5`), so they travel as a mapping in which one key is present.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flops: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntervalKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match BudgetKeys::deserialize(deserializer)? {
            BudgetKeys { images: Some(n), seconds: None, flops: None } => Ok(Self::Images(n)),
            BudgetKeys { images: None, seconds: Some(s), flops: None } => Ok(Self::Seconds(s)),
            BudgetKeys { images: None, seconds: None, flops: Some(f) } => Ok(Self::Flops(f)),
            _ => Err(D::Error::custom("needs exactly one of `images`, `seconds`, `flops`")),
        }
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = BudgetKeys { images: None, seconds: None, flops: None };
        match *self {
            Self::Images(images) => keys.images = Some(images),
            Self::Seconds(seconds) => keys.seconds = Some(seconds),
            Self::Flops(flops) => keys.flops = Some(flops),
        }
        keys.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match IntervalKeys::deserialize(deserializer)? {
            IntervalKeys { share: Some(share), seconds: None } => Ok(Self::Share(share)),
            IntervalKeys { share: None, seconds: Some(seconds) } => Ok(Self::Seconds(seconds)),
            _ => Err(D::Error::custom("needs exactly one of `share`, `seconds`")),
        }
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Share(share) => IntervalKeys { share: Some(share), seconds: None },
            Self::Seconds(seconds) => IntervalKeys { share: None, seconds: Some(seconds) },
        }
        .serialize(serializer)
    }
}
