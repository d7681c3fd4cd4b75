//! `--set key=value`: values from the command line written over the file's.

use super::{
    error::{ConfigError, Place, Problem},
    locate::KeyPath,
    source::{Source, path},
};
use serde_yaml::{Mapping, Value};

/// Writes the values of `--set` arguments over `root`. A value is YAML, so `1e-4` is a number and `[0, 1]` a list.
///
/// A set key that the file sweeps is no longer swept.
pub fn apply(
    root: &mut Value,
    arguments: &[String],
    source: &mut Source,
) -> Result<(), ConfigError> {
    for argument in arguments {
        let fail = |key: &str, problem| ConfigError {
            place: Place::Set { argument: argument.clone() },
            key: key.into(),
            problem,
        };
        let (key, value) = argument.split_once('=').ok_or_else(|| {
            fail("", Problem::Other("expected `key=value`, such as `train.batch_size=64`".into()))
        })?;
        let keys = dotted(key, root);
        if keys.iter().any(String::is_empty) {
            return Err(fail(key, Problem::Other("a key is empty".into())));
        }
        if keys[0] == "sweep" {
            return Err(fail(key, Problem::Other("a sweep is written in the file only".into())));
        }
        let value: Value = serde_yaml::from_str(value)
            .map_err(|error| fail(key, Problem::Syntax(error.to_string())))?;
        known_model(root, &keys).map_err(|problem| fail(key, problem))?;
        source.record_set(keys.clone(), argument);
        end_sweep(root, key);
        assign(root, &keys, value).map_err(|(parent, problem)| fail(&parent.join("."), problem))?;
    }
    Ok(())
}

/// Writes a value at a path, making the mappings on the way.
///
/// # Errors
/// The path of what stands in the way and is no mapping.
pub fn assign(root: &mut Value, keys: &[String], value: Value) -> Result<(), (KeyPath, Problem)> {
    let (last, parents) = keys.split_last().expect("a path has a key");
    let mut at = root;
    for (depth, key) in parents.iter().enumerate() {
        at = mapping(at, &keys[..depth])?.entry(key.clone().into()).or_insert(Value::Null);
    }
    // These hold exactly one key, which says what the value is: the new one takes the place of the old.
    if is_choice(parents) {
        *at = Value::Null;
    }
    let parent = mapping(at, parents)?;
    parent.insert(last.clone().into(), value);
    Ok(())
}

fn is_choice(keys: &[String]) -> bool {
    let train = ["budget", "checkpoint_every", "sample_every"].map(|key| ["train", key]);
    train.iter().chain(&[["eval", "features"]]).any(|choice| keys == choice)
}

fn mapping<'a>(value: &'a mut Value, at: &[String]) -> Result<&'a mut Mapping, (KeyPath, Problem)> {
    if value.is_null() {
        *value = Value::Mapping(Mapping::new());
    }
    let found = super::explain::describe(value);
    value
        .as_mapping_mut()
        .ok_or_else(|| (at.to_vec(), Problem::WrongType { found, expected: "a mapping".into() }))
}

/// A key below a model needs the model; setting a whole model adds one.
fn known_model(root: &Value, keys: &[String]) -> Result<(), Problem> {
    let (Some(models), [first, name, _, ..]) =
        (root.get("models").and_then(Value::as_mapping), keys)
    else {
        return Ok(());
    };
    if first != "models" || models.contains_key(name.as_str()) {
        return Ok(());
    }
    let allowed = models.keys().filter_map(Value::as_str).map(str::to_string).collect();
    Err(Problem::UnknownModel { found: name.clone(), allowed })
}

fn end_sweep(root: &mut Value, set: &str) {
    let below = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(sweep) = root.get_mut("sweep").and_then(Value::as_mapping_mut) {
        sweep.retain(|key, _| key.as_str().is_none_or(|key| !below(key, set) && !below(set, key)));
    }
}

/// A dotted key as a path; the name of a model, which may have dots itself, is one part of it.
pub fn dotted(key: &str, root: &Value) -> KeyPath {
    let split = |key: &str| key.split('.').map(|key| key.trim().to_string()).collect::<KeyPath>();
    let models = root.get("models").and_then(Value::as_mapping);
    let names = models.into_iter().flat_map(Mapping::keys).filter_map(Value::as_str);
    let below = |name: &str| key.strip_prefix("models.")?.strip_prefix(name)?.strip_prefix('.');
    // Of `a` and `a.b`, the longer.
    match names.filter_map(|name| Some((name, below(name)?))).max_by_key(|(name, _)| name.len()) {
        Some((name, rest)) => model_path(name).into_iter().chain(split(rest)).collect(),
        None => split(key),
    }
}

/// The paths `models`, `models.<name>`.
pub fn model_path(name: &str) -> KeyPath {
    path(["models", name])
}
