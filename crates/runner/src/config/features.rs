//! `eval.features`: a network that comes with the program, by its name, or one from a file of the user's:
//! `{ inception: weights.pth }`, `{ torchscript: { path: network.pt, size: 224, mean: [...], std: [...] } }`.

use super::rules::{Violation, at_least, number, positive};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{fmt, path::PathBuf};

/// A feature extractor.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Features {
    /// `classifier` where one comes with this program for the dataset at its size, else `random-conv`.
    Auto,
    /// A small frozen classifier of the dataset's own classes.
    Classifier,
    /// A frozen network of random weights, which needs no labels.
    RandomConv,
    /// Inception-v3 as Fréchet inception distances are taken with: a file of its weights of 2015, as pytorch-fid and
    /// torch-fidelity publish it (.pth) or in safetensors. Paths are relative to the current directory.
    Inception(PathBuf),
    /// Any network that comes as TorchScript.
    #[schemars(rename = "torchscript")]
    TorchScript(TorchScript),
}

/// A network in TorchScript that maps images `[n, 3, size, size]` to features `[n, d]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TorchScript {
    /// File that `torch.jit.save` wrote, relative to the current directory.
    pub path: PathBuf,
    /// Rows and columns that images are resized to.
    pub size: u64,
    /// Mean of each channel, subtracted from levels in [0, 1].
    pub mean: [f64; 3],
    /// Standard deviation of each channel, divided by.
    pub std: [f64; 3],
}

impl Features {
    /// Checks what types cannot; `path` is where this stands within `eval`.
    pub(super) fn check(&self, path: &str) -> Result<(), Violation> {
        let Self::TorchScript(TorchScript { size, mean, std, .. }) = self else { return Ok(()) };
        let key = |name: &str| format!("{path}.torchscript.{name}");
        at_least(1, &key("size"), *size)?;
        for (i, &value) in mean.iter().enumerate() {
            number(&key(&format!("mean.{i}")), value, |_| true, "must be a finite number")?;
        }
        let mut stds = std.iter().enumerate();
        stds.try_for_each(|(i, &value)| positive(&key(&format!("std.{i}")), value))
    }
}

/// The mapping that stands for a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(skip_serializing_if = "Option::is_none")]
    inception: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    torchscript: Option<TorchScript>,
}

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.clone() {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Classifier => serializer.serialize_str("classifier"),
            Self::RandomConv => serializer.serialize_str("random-conv"),
            Self::Inception(path) => {
                Keys { inception: Some(path), torchscript: None }.serialize(serializer)
            }
            Self::TorchScript(module) => {
                Keys { inception: None, torchscript: Some(module) }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrFile)
    }
}

struct NameOrFile;

impl<'de> Visitor<'de> for NameOrFile {
    type Value = Features;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a network, or a mapping that names a file of one")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Features, E> {
        match name {
            "auto" => Ok(Features::Auto),
            "classifier" => Ok(Features::Classifier),
            "random-conv" => Ok(Features::RandomConv),
            "inception" => Err(E::custom("needs its weights: `{ inception: FILE }`")),
            "torchscript" => Err(E::custom(
                "needs a file: `{ torchscript: { path: FILE, size: 224, mean: [...], std: [...] } }`",
            )),
            other => Err(E::unknown_variant(other, &["auto", "classifier", "random-conv"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Features, A::Error> {
        match Keys::deserialize(MapAccessDeserializer::new(map))? {
            Keys { inception: Some(path), torchscript: None } => Ok(Features::Inception(path)),
            Keys { inception: None, torchscript: Some(module) } => {
                Ok(Features::TorchScript(module))
            }
            _ => Err(Error::custom("needs exactly one of `inception`, `torchscript`")),
        }
    }
}
