//! What changed between a run and the experiment that is to continue it.

use super::{Experiment, ModelConfig};
use serde::Serialize;
use serde_yaml::{Mapping, Value};
use std::iter::successors;

/// One key whose value changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Dotted path of the key.
    pub key: String,
    /// What it was, as YAML on one line; "absent" if it was not there.
    pub then: String,
    /// What it is now.
    pub now: String,
}

impl Change {
    /// The first key whose value differs between two sections.
    pub fn between(then: &impl Serialize, now: &impl Serialize) -> Option<Self> {
        fn value(section: &impl Serialize) -> Value {
            serde_yaml::to_value(section).expect("a section is plain data")
        }
        changed(Some(&value(then)), Some(&value(now)), "")
    }
}

/// What changed since a run was trained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// First key on which the trained weights of the models in both depend. With it, the run cannot be continued.
    pub trained: Option<Change>,
    /// First key on which only samples and scores depend.
    pub eval: Option<Change>,
    /// Models that are new.
    pub added: Vec<String>,
    /// Models that are gone.
    pub removed: Vec<String>,
}

impl Difference {
    /// Whether nothing changed that trained weights or scores depend on.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Keys of `train` that change what is written and when, not the weights.
const BOOKKEEPING: [&str; 6] =
    ["checkpoint_every", "keep_checkpoints", "snapshots", "log_every", "sample_every", "jobs"];

impl Experiment {
    /// What changed since `trained`, the experiment of an earlier run; names and bookkeeping aside.
    pub fn difference(&self, trained: &Self) -> Difference {
        let names = |experiment: &Self| -> Vec<String> {
            experiment.models.iter().map(|model| model.name.clone()).collect()
        };
        let (then, now) = (names(trained), names(self));
        let (old, new) = (trained.to_value(), self.to_value());
        let common: Vec<&ModelConfig> =
            self.models.iter().filter(|model| then.contains(&model.name)).collect();
        let compare = |which: Part| {
            changed(Some(&part(&old, &common, which)), Some(&part(&new, &common, which)), "")
        };
        Difference {
            trained: compare(Part::Weights),
            eval: compare(Part::Scores),
            added: now.iter().filter(|name| !then.contains(name)).cloned().collect(),
            removed: then.iter().filter(|name| !now.contains(name)).cloned().collect(),
        }
    }

    /// All settings that the samples of a model depend on, but the seed: where these are equal, trainings differ in their
    /// seed only. They are the sections `data` and `train`, bookkeeping aside, the model's own and, where its training
    /// begins with another model of the experiment, that one's.
    pub fn made_of(&self, model: &ModelConfig) -> serde_json::Value {
        let models: Vec<&ModelConfig> =
            successors(Some(model), |student| self.teacher(student)).collect();
        let settings = part(&self.to_value(), &models, Part::Samples);
        serde_json::to_value(settings).expect("keys of an experiment are strings")
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// What trained weights depend on.
    Weights,
    /// What only samples and scores depend on.
    Scores,
    /// What samples depend on, but the seed and how sums are shared out among threads.
    Samples,
}

/// One part of an experiment, of the given models only.
fn part(root: &Value, models: &[&ModelConfig], part: Part) -> Value {
    let mut sections = Mapping::new();
    for model in models {
        let section = root.get("models").and_then(|all| all.get(&model.name));
        let mut section = section.and_then(Value::as_mapping).cloned().unwrap_or_default();
        section.retain(|key, _| {
            let samples = model.model.sampling_keys().iter().any(|name| key.as_str() == Some(name));
            part == Part::Samples || samples == (part == Part::Scores)
        });
        sections.insert(model.name.clone().into(), section.into());
    }
    let mut kept = Mapping::new();
    let keys: &[&str] = match part {
        Part::Weights => &["seed", "data", "train"],
        Part::Scores => &["eval"],
        Part::Samples => &["data", "train"],
    };
    for key in keys {
        kept.extend(root.get(key).map(|section| (Value::from(*key), section.clone())));
    }
    kept.insert("models".into(), sections.into());
    if let Some(train) = kept.get_mut("train").and_then(Value::as_mapping_mut) {
        train.retain(|key, _| !BOOKKEEPING.iter().any(|name| key.as_str() == Some(name)));
        if part == Part::Samples {
            train.remove("threads");
        }
    }
    kept.into()
}

fn changed(then: Option<&Value>, now: Option<&Value>, key: &str) -> Option<Change> {
    if then == now {
        return None;
    }
    if let (Some(Value::Mapping(then)), Some(Value::Mapping(now))) = (then, now) {
        // The order of keys means nothing.
        let new_keys = |mapping: &Mapping, name: &Value| !mapping.contains_key(name);
        let keys = then.keys().chain(now.keys().filter(|name| new_keys(then, name)));
        return keys.filter_map(|name| Some((name, name.as_str()?))).find_map(|(name, text)| {
            let key = if key.is_empty() { text.to_string() } else { format!("{key}.{text}") };
            changed(then.get(name), now.get(name), &key)
        });
    }
    Some(Change { key: key.to_string(), then: one_line(then), now: one_line(now) })
}

fn one_line(value: Option<&Value>) -> String {
    match value {
        None => "absent".into(),
        // JSON on one line is YAML.
        Some(value) => serde_json::to_string(value).unwrap_or_else(|_| format!("{value:?}")),
    }
}
