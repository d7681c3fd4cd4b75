//! `sweep:`, a grid over any keys.
//!
//! A key below a model (`models.diffusion.num_timesteps: [10, 100]`) makes one model of each value, side by side in one
//! comparison, named `diffusion-num_timesteps=10` and so on. Any other key (`seed: [0, 1]`) makes one run of each value,
//! in a folder `seed=0` and so on. Several keys make every combination, the last one varying fastest.

use super::{
    error::{ConfigError, Problem},
    explain::describe,
    locate::KeyPath,
    overrides::{assign, dotted, model_path},
    source::{Source, path},
};
use serde_yaml::{Mapping, Value};

/// One run that a sweep asks for.
#[derive(Debug)]
pub struct Expanded {
    /// Folder below the experiment's output; none if there is one run only.
    pub folder: Option<String>,
    /// The experiment, without its sweep.
    pub root: Value,
    /// Where its values come from.
    pub source: Source,
}

/// One swept key.
#[derive(Debug, Clone)]
struct Axis {
    path: KeyPath,
    /// Shortest unambiguous end of the key, for names.
    label: String,
    values: Vec<Value>,
}

/// Takes the sweep out of `root` and expands it.
pub fn expand(mut root: Value, source: &Source) -> Result<Vec<Expanded>, ConfigError> {
    let sweep = root.as_mapping_mut().and_then(|root| root.shift_remove("sweep"));
    let axes = axes(sweep.unwrap_or_default(), &root, source)?;
    let (of_models, of_runs): (Vec<Axis>, Vec<Axis>) =
        axes.into_iter().partition(|axis| axis.path[0] == "models");
    let mut source = source.clone();
    expand_models(&mut root, &of_models, &mut source)?;
    if of_runs.is_empty() {
        return Ok(vec![Expanded { folder: None, root, source }]);
    }
    let runs: Vec<Expanded> = combinations(&of_runs)
        .into_iter()
        .map(|choice| {
            let (mut root, mut source) = (root.clone(), source.clone());
            for (axis, index) in &choice {
                set(&mut root, axis, *index, axis.path.clone(), &mut source)?;
            }
            Ok(Expanded { folder: Some(label(&choice)), root, source })
        })
        .collect::<Result<_, ConfigError>>()?;
    distinct(runs.iter().filter_map(|run| run.folder.as_deref()), &source)?;
    Ok(runs)
}

fn axes(sweep: Value, root: &Value, source: &Source) -> Result<Vec<Axis>, ConfigError> {
    let sweep: Mapping = match sweep {
        Value::Null => return Ok(Vec::new()),
        Value::Mapping(sweep) => sweep,
        other => {
            let expected = "a mapping from keys to lists".into();
            let problem = Problem::WrongType { found: describe(&other), expected };
            return Err(source.error(&path(["sweep"]), problem));
        }
    };
    let mut axes: Vec<Axis> = Vec::new();
    for (key, values) in &sweep {
        let key = key.as_str().unwrap_or_default();
        let fail = |problem| source.error(&path(["sweep", key]), problem);
        let keys = dotted(key, root);
        let values = match values {
            Value::Sequence(values) if !values.is_empty() => values.clone(),
            other => {
                let expected = "a list of values to try".into();
                return Err(fail(Problem::WrongType { found: describe(other), expected }));
            }
        };
        if keys[0] == "models" {
            if keys.len() < 3 {
                let rule = "sweep a key of a model, such as `models.vae.beta`".into();
                return Err(fail(Problem::Other(rule)));
            }
            let models = root.get("models").and_then(Value::as_mapping);
            let names = models.into_iter().flat_map(Mapping::keys).filter_map(Value::as_str);
            let allowed: Vec<String> = names.map(str::to_string).collect();
            if !allowed.contains(&keys[1]) {
                return Err(fail(Problem::UnknownModel { found: keys[1].clone(), allowed }));
            }
        }
        axes.push(Axis { path: keys, label: String::new(), values });
    }
    for index in 0..axes.len() {
        axes[index].label = short_label(&axes, index);
    }
    Ok(axes)
}

/// The last key of an axis, preceded by as many more as it takes to differ from the axes beside it.
fn short_label(axes: &[Axis], index: usize) -> String {
    let own = &axes[index].path;
    // Below one model the model's name is in front anyway.
    let least = if own[0] == "models" { 2 } else { 0 };
    let rivals = axes.iter().enumerate().filter(|(other, axis)| {
        *other != index && axis.path[..least.min(axis.path.len())] == own[..least]
    });
    let rivals: Vec<&KeyPath> = rivals.map(|(_, axis)| &axis.path).collect();
    (least..own.len())
        .rev()
        .map(|start| &own[start..])
        .find(|end| !rivals.iter().any(|rival| rival.ends_with(end)))
        .unwrap_or(&own[least..])
        .join(".")
}

fn expand_models(root: &mut Value, axes: &[Axis], source: &mut Source) -> Result<(), ConfigError> {
    let Some(models) = root.get_mut("models").and_then(Value::as_mapping_mut) else {
        return Ok(());
    };
    let mut expanded = Mapping::new();
    let mut names = Vec::new();
    for (name, model) in std::mem::take(models) {
        let own = |axis: &&Axis| Some(axis.path[1].as_str()) == name.as_str();
        let own: Vec<Axis> = axes.iter().filter(own).cloned().collect();
        let Some(old) = name.as_str().filter(|_| !own.is_empty()) else {
            names.extend(name.as_str().map(str::to_string));
            expanded.insert(name, model);
            continue;
        };
        for choice in combinations(&own) {
            let new = format!("{old}-{}", label(&choice));
            // The root of this one model, so that paths are the same as everywhere.
            let mut alone = Value::Mapping(Mapping::new());
            assign(&mut alone, &model_path(&new), model.clone()).expect("the mapping is empty");
            source.record_sweep(model_path(&new), model_path(old));
            for (axis, index) in &choice {
                let made = [model_path(&new), axis.path[2..].to_vec()].concat();
                set(&mut alone, axis, *index, made, source)?;
            }
            expanded.insert(new.clone().into(), alone["models"][new.as_str()].clone());
            names.push(new);
        }
    }
    *models = expanded;
    distinct(names.iter().map(String::as_str), source)
}

fn set(
    root: &mut Value,
    axis: &Axis,
    index: usize,
    made: KeyPath,
    source: &mut Source,
) -> Result<(), ConfigError> {
    source.record_sweep(made.clone(), path(["sweep", &axis.path.join("."), &index.to_string()]));
    assign(root, &made, axis.values[index].clone())
        .map_err(|(parent, problem)| source.error(&parent, problem))
}

fn combinations(axes: &[Axis]) -> Vec<Vec<(&Axis, usize)>> {
    axes.iter().fold(vec![Vec::new()], |choices, axis| {
        choices
            .iter()
            .flat_map(|choice| {
                let with = move |index| [choice.as_slice(), &[(axis, index)]].concat();
                (0..axis.values.len()).map(with)
            })
            .collect()
    })
}

/// Such as `beta=0.5,latent_dim=64`.
fn label(choice: &[(&Axis, usize)]) -> String {
    let parts: Vec<String> = choice
        .iter()
        .map(|(axis, index)| format!("{}={}", axis.label, value_label(&axis.values[*index])))
        .collect();
    parts.join(",")
}

/// A value as part of a file name: a mapping or list becomes its values joined with `-`.
fn value_label(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Sequence(list) => list.iter().map(value_label).collect::<Vec<_>>().join("-"),
        Value::Mapping(mapping) => mapping.values().map(value_label).collect::<Vec<_>>().join("-"),
        Value::Tagged(tagged) => value_label(&tagged.value),
        Value::String(text) => text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' })
            .collect(),
        Value::Bool(_) | Value::Number(_) => describe(value),
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>, source: &Source) -> Result<(), ConfigError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            let message = format!("makes two of the name `{name}`; its values must differ");
            return Err(source.error(&path(["sweep"]), Problem::Other(message)));
        }
    }
    Ok(())
}
