//! A family's section of an experiment.

use crate::{Check, Coded, Subject, check::checks};
use anyhow::{Context, Result, bail, ensure};
use paragone::{config::Experiment, families::Model};
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};
use std::slice;

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    names_are_kebab_case,
    defaults_and_tiny_validate,
    sections_survive_yaml,
    an_empty_section_is_the_default,
    unknown_keys_are_refused_by_name,
    the_schema_describes_every_key,
    sampling_keys_are_keys,
];

/// Names of families and of their keys are lower case, words joined by `-` in names and by `_` in keys.
fn names_are_kebab_case(subject: &Subject) -> Result<()> {
    let plain = |name: &str, joint: char| {
        let word = |w: &str| w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        name.split(joint).all(|w| !w.is_empty() && word(w))
    };
    ensure!(plain(subject.entry.name, '-'), "the name {:?} is not kebab-case", subject.entry.name);
    ensure!(
        subject.tiny().family() == subject.entry.name,
        "its models say {}",
        subject.tiny().family()
    );
    let keys = key_paths(&(subject.entry.default)().to_value(), &[]);
    ensure!(!keys.is_empty(), "it has no options");
    for path in keys {
        let key = path.last().expect("a path has an end");
        ensure!(plain(key, '_'), "the key {} is not snake_case", path.join("."));
    }
    Ok(())
}

fn defaults_and_tiny_validate(subject: &Subject) -> Result<()> {
    for shape in [[1, 28, 28], [3, 16, 16], [3, 32, 32]] {
        let data = Coded::new(shape).data;
        (subject.entry.default)()
            .validate(&data)
            .with_context(|| format!("default on {shape:?}"))?;
        subject.tiny().validate(&data).with_context(|| format!("tiny on {shape:?}"))?;
    }
    for shape in [Coded::GRAY, Coded::COLOUR] {
        subject.tiny().validate(&Coded::new(shape).data)?;
    }
    Ok(())
}

fn sections_survive_yaml(subject: &Subject) -> Result<()> {
    for model in [(subject.entry.default)(), subject.tiny()] {
        let text = serde_yaml::to_string(&model.to_value())?;
        let read = parse(subject, serde_yaml::from_str(&text)?)?;
        ensure!(read.to_value() == model.to_value(), "{text} became {:?}", read.to_value());
    }
    Ok(())
}

fn an_empty_section_is_the_default(subject: &Subject) -> Result<()> {
    let read = parse(subject, Value::Mapping(Mapping::new()))?.to_value();
    let default = (subject.entry.default)().to_value();
    ensure!(read == default, "{read:?} is not the default {default:?}");
    Ok(())
}

/// At every level of the section, with the line of the experiment file.
fn unknown_keys_are_refused_by_name(subject: &Subject) -> Result<()> {
    const UNKNOWN: &str = "no_such_key";
    let section = (subject.entry.default)().to_value();
    let mut levels = vec![Vec::new()];
    levels.extend(
        key_paths(&section, &[]).into_iter().filter(|path| at(&section, path).is_mapping()),
    );
    for level in levels {
        let mut changed = section.clone();
        let mapping = at_mut(&mut changed, &level).as_mapping_mut().context("a mapping")?;
        mapping.insert(UNKNOWN.into(), 1.into());
        let section = changed.as_mapping_mut().context("a mapping")?;
        section.insert("family".into(), subject.entry.name.into());
        let models = Mapping::from_iter([("a".into(), changed)]);
        let data = Mapping::from_iter([("dataset".into(), "shapes".into())]);
        let experiment: Mapping = [
            ("name".into(), "wrong".into()),
            ("data".into(), Value::Mapping(data)),
            ("models".into(), Value::Mapping(models)),
        ]
        .into_iter()
        .collect();
        let text = serde_yaml::to_string(&experiment)?;
        let line = text.lines().position(|line| line.contains(UNKNOWN)).context("a line")? + 1;
        match Experiment::parse_with(slice::from_ref(subject.entry), "wrong.yaml", &text, &[]) {
            Ok(_) => bail!("{UNKNOWN} in [{}] is accepted", level.join(".")),
            Err(error) => {
                let error = error.to_string();
                ensure!(error.contains(UNKNOWN), "{error:?} does not name {UNKNOWN}");
                let place = format!("wrong.yaml:{line}:");
                ensure!(error.contains(&place), "{error:?} does not name {place}");
            }
        }
    }
    Ok(())
}

/// The schema is what editors show and what `paragone families` prints.
fn the_schema_describes_every_key(subject: &Subject) -> Result<()> {
    let schema = Json::from((subject.entry.schema)());
    ensure!(described(&schema), "the section itself has no description");
    let mut bare = Vec::new();
    undescribed(&schema, &mut bare);
    ensure!(bare.is_empty(), "no description of {}", bare.join(", "));
    let properties = schema["properties"].as_object().context("a schema with properties")?;
    let section = (subject.entry.default)().to_value();
    for key in section.as_mapping().context("a section is a mapping")?.keys() {
        let key = key.as_str().context("a key is a word")?;
        ensure!(properties.contains_key(key), "{key} is not in the schema");
    }
    Ok(())
}

fn sampling_keys_are_keys(subject: &Subject) -> Result<()> {
    let section = subject.tiny().to_value();
    for key in subject.tiny().sampling_keys() {
        ensure!(section.get(key).is_some(), "the section has no {key}");
    }
    Ok(())
}

/// Reads a family's section.
pub(crate) fn parse(subject: &Subject, section: Value) -> Result<Box<dyn Model>> {
    (subject.entry.parse)(section).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Paths of all keys of a section, at every level.
pub(crate) fn key_paths(section: &Value, above: &[String]) -> Vec<Vec<String>> {
    let Some(mapping) = section.as_mapping() else { return Vec::new() };
    let keys = mapping.iter().filter_map(|(key, value)| Some((key.as_str()?, value)));
    keys.flat_map(|(key, value)| {
        let path = [above, &[key.to_owned()]].concat();
        let below = key_paths(value, &path);
        std::iter::once(path).chain(below)
    })
    .collect()
}

/// The value at a path that exists.
pub(crate) fn at<'a>(section: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(section, |value, key| &value[key.as_str()])
}

/// The same, to change.
pub(crate) fn at_mut<'a>(section: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(section, |value, key| &mut value[key.as_str()])
}

fn described(schema: &Json) -> bool {
    schema["description"].as_str().is_some_and(|text| !text.trim().is_empty())
}

/// Names of properties without a description, here and in everything below.
fn undescribed(schema: &Json, bare: &mut Vec<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        bare.extend(properties.iter().filter(|(_, p)| !described(p)).map(|(name, _)| name.clone()));
    }
    match schema {
        Json::Object(object) => object.values().for_each(|value| undescribed(value, bare)),
        Json::Array(list) => list.iter().for_each(|value| undescribed(value, bare)),
        _ => {}
    }
}
