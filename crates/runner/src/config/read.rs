//! From the text of an experiment file to experiments.

use super::{
    Experiment, ModelConfig, ModelTrain,
    error::{ConfigError, Problem},
    explain::describe,
    overrides::{self, model_path},
    rules::Violation,
    source::{Source, path},
    sweep,
};
use crate::families::{Entry, FAMILIES};
use paragone_data::{DataConfig, DataError};
use serde_yaml::{Mapping, Value};

/// One run that an experiment file asks for.
#[derive(Debug, Clone)]
pub struct Run {
    /// Folder below the experiment's output when the file sweeps a key outside the models, such as `seed=1`.
    pub folder: Option<String>,
    /// What to run.
    pub experiment: Experiment,
}

const SECTIONS: [&str; 7] = ["name", "seed", "data", "train", "eval", "models", "sweep"];

/// Names that a run uses for itself beside its models' folders.
const RESERVED: [&str; 5] =
    ["calibration.json", "comparison", "experiment.yaml", "lock", "manifest.json"];

impl Experiment {
    /// Reads an experiment: the runs it asks for, one unless it sweeps keys outside its models.
    ///
    /// `file` is what errors call the text; `set` holds the arguments of `--set`, such as `train.batch_size=64`.
    ///
    /// # Errors
    /// The first thing wrong, with its place.
    pub fn parse(file: &str, text: &str, set: &[String]) -> Result<Vec<Run>, ConfigError> {
        Self::parse_with(FAMILIES, file, text, set)
    }

    /// [`Experiment::parse`] with another registry.
    pub fn parse_with(
        families: &[Entry],
        file: &str,
        text: &str,
        set: &[String],
    ) -> Result<Vec<Run>, ConfigError> {
        let (mut source, mut root) = Source::parse(file, text)?;
        if !root.is_mapping() {
            let expected = "an experiment: a mapping with `name`, `data` and `models`".into();
            let problem = Problem::WrongType { found: describe(&root), expected };
            return Err(source.error(&[], problem));
        }
        overrides::apply(&mut root, set, &mut source)?;
        let read = |expanded: sweep::Expanded| {
            let experiment = experiment(families, expanded.root, expanded.source)?;
            Ok(Run { folder: expanded.folder, experiment })
        };
        sweep::expand(root, &source)?.into_iter().map(read).collect()
    }
}

fn experiment(families: &[Entry], root: Value, source: Source) -> Result<Experiment, ConfigError> {
    let mut root = mapping(root, &[], &source)?;
    if let Some(found) = root.keys().find(|key| !SECTIONS.iter().any(|s| key.as_str() == Some(s))) {
        let found = key_text(found);
        let allowed = SECTIONS.map(str::to_string).to_vec();
        return Err(
            source.error(&path([&found]), Problem::UnknownKey { found: found.clone(), allowed })
        );
    }
    let mut take = |key: &str| root.shift_remove(key);
    let missing = |key: &str| source.error(&[], Problem::Missing { key: key.into() });

    let name: String = take("name")
        .map_or_else(|| Err(missing("name")), |v| source.section(&path(["name"]), v))?;
    file_name(&name).map_err(|problem| source.error(&path(["name"]), problem))?;
    let seed = take("seed").map_or(Ok(0), |v| source.section(&path(["seed"]), v))?;
    let data = data(take("data").ok_or_else(|| missing("data"))?, &source)?;
    let train = Value::Mapping(section(take("train"), &path(["train"]), &source)?);
    let train: super::TrainConfig = source.section(&path(["train"]), train)?;
    train.check().map_err(|broken| violation(broken, &path(["train"]), &source))?;
    let eval = Value::Mapping(section(take("eval"), &path(["eval"]), &source)?);
    let eval: super::EvalConfig = source.section(&path(["eval"]), eval)?;
    eval.check().map_err(|broken| violation(broken, &path(["eval"]), &source))?;

    let sections =
        mapping(take("models").ok_or_else(|| missing("models"))?, &path(["models"]), &source)?;
    let mut models: Vec<ModelConfig> = Vec::new();
    for (key, value) in sections {
        let name = key_text(&key);
        let at = model_path(&name);
        let fail = |problem| source.error(&at, problem);
        file_name(&name).map_err(fail)?;
        // Folders of two models must differ on every file system.
        if let Some(other) = models.iter().find(|other| other.name.eq_ignore_ascii_case(&name)) {
            let message = format!("differs from the model `{}` only in case", other.name);
            return Err(fail(Problem::Other(message)));
        }
        let model = model(families, name, value, &source)?;
        let broken = model.train.check(&train);
        broken.map_err(|broken| {
            violation(broken, &[at.clone(), path(["train"])].concat(), &source)
        })?;
        models.push(model);
    }
    if models.is_empty() {
        let message = "has no model; add one, such as `vae: { family: vae }`".into();
        return Err(source.error(&path(["models"]), Problem::Other(message)));
    }
    Ok(Experiment { name, seed, data, train, eval, models, source })
}

fn data(value: Value, source: &Source) -> Result<DataConfig, ConfigError> {
    let at = path(["data"]);
    // The section's type has a default dataset; an experiment names its own.
    if section(Some(value.clone()), &at, source)?.get("dataset").is_none() {
        return Err(source.error(&at, Problem::Missing { key: "dataset".into() }));
    }
    let data: DataConfig = source.section(&at, value)?;
    let checked = paragone_data::spec(&data.dataset).and_then(|_| data.validate());
    checked.map_err(|error| match error {
        DataError::UnknownDataset { name, known } => {
            let problem = Problem::UnknownValue { found: name, allowed: known };
            source.error(&path(["data", "dataset"]), problem)
        }
        DataError::InvalidConfig { key, value, rule } => {
            source.error(&path(["data", key]), Problem::Invalid { value, rule })
        }
        other => source.error(&at, Problem::Other(other.to_string())),
    })?;
    Ok(data)
}

fn model(
    families: &[Entry],
    name: String,
    value: Value,
    source: &Source,
) -> Result<ModelConfig, ConfigError> {
    let at = model_path(&name);
    let below = |key: &str| [at.as_slice(), &path([key])].concat();
    let mut own = section(Some(value), &at, source)?;
    let family = own
        .shift_remove("family")
        .ok_or_else(|| source.error(&at, Problem::Missing { key: "family".into() }))?;
    let family: String = source.section(&below("family"), family)?;
    let entry = families.iter().find(|entry| entry.name == family).ok_or_else(|| {
        let allowed = families.iter().map(|entry| entry.name.to_string()).collect();
        source.error(&below("family"), Problem::UnknownValue { found: family.clone(), allowed })
    })?;
    let train = section(own.shift_remove("train"), &below("train"), source)?;
    let train: ModelTrain = source.section(&below("train"), Value::Mapping(train))?;
    let own = Value::Mapping(own);
    let model = (entry.parse)(own.clone()).map_err(|error| {
        let mut error = source.serde_error(&at, &own, &error);
        // The family knows nothing of the two keys that were taken out.
        if let Problem::UnknownKey { found, allowed } = &mut error.problem
            && error.key == below(found).join(".")
        {
            allowed.splice(0..0, ["family".to_string(), "train".to_string()]);
        }
        error
    })?;
    Ok(ModelConfig { name, train, model })
}

/// A section that may be left out or left empty.
fn section(value: Option<Value>, at: &[String], source: &Source) -> Result<Mapping, ConfigError> {
    match value {
        None | Some(Value::Null) => Ok(Mapping::new()),
        Some(value) => mapping(value, at, source),
    }
}

fn mapping(value: Value, at: &[String], source: &Source) -> Result<Mapping, ConfigError> {
    match value {
        Value::Mapping(mapping) => Ok(mapping),
        other => {
            let expected = "a mapping".into();
            Err(source.error(at, Problem::WrongType { found: describe(&other), expected }))
        }
    }
}

fn violation(broken: Violation, section: &[String], source: &Source) -> ConfigError {
    let key: Vec<String> = broken.key.split('.').map(str::to_string).collect();
    let problem = Problem::Invalid { value: broken.value, rule: broken.rule };
    source.error(&[section, &key].concat(), problem)
}

/// A key as text; YAML reads `1:` as a number and `on:` as text.
fn key_text(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        other => describe(other),
    }
}

/// A name that makes a folder on every file system.
fn file_name(name: &str) -> Result<(), Problem> {
    let fail = |rule: &str| Err(Problem::Invalid { value: format!("`{name}`"), rule: rule.into() });
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+=,-".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(allowed) {
        return fail(
            "a name is made of letters, digits and `._+=,-`, and starts with a letter or digit",
        );
    }
    if name.len() > 100 {
        return fail("a name has at most 100 characters");
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) || name.ends_with('.') {
        return fail("this name is taken by a run's own files");
    }
    Ok(())
}
