//! `paragone families`: what there is to compare, with every option.

use super::say;
use crate::families::{Entry, FAMILIES, find};
use anyhow::{Context, Result};
use serde_json::Value;
use std::process::ExitCode;

pub fn execute(family: Option<&str>) -> Result<ExitCode> {
    match family {
        None => {
            for entry in FAMILIES {
                let schema = Value::from((entry.schema)());
                let described = schema["description"].as_str().unwrap_or_default();
                say(format_args!("{:<16} {}", entry.name, first_sentence(described)));
            }
            say("\n`paragone families NAME` lists the options of one.");
        }
        Some(name) => {
            let names = || FAMILIES.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
            let entry = find(name)
                .with_context(|| format!("there is no family {name}, but {}", names()))?;
            print_options(entry)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every key with its default, its meaning, what it may be, and the keys below it.
fn print_options(entry: &Entry) -> Result<()> {
    let schema = Value::from((entry.schema)());
    print_keys(&schema, &schema, &serde_json::to_value((entry.default)().to_value())?, "")
}

/// The keys of `section`, a part of `schema`.
fn print_keys(schema: &Value, section: &Value, defaults: &Value, indent: &str) -> Result<()> {
    let properties = section["properties"].as_object().cloned().unwrap_or_default();
    for (key, property) in properties {
        let (default, kind) = (&defaults[key.as_str()], resolved(schema, &property));
        let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        let deeper = format!("{indent}    ");
        if kind["properties"].is_object() && default.is_object() {
            say(format_args!("{indent}{key}:\n{deeper}{meaning}"));
            print_keys(schema, kind, default, &deeper)?;
            continue;
        }
        say(format_args!("{indent}{key}: {}\n{deeper}{meaning}", serde_json::to_string(default)?));
        for (value, meaning) in choices(kind) {
            say(format_args!("{deeper}- {value}: {meaning}"));
        }
    }
    Ok(())
}

/// What a property is, of one that may be absent what it is where it is there.
fn resolved<'a>(schema: &'a Value, property: &'a Value) -> &'a Value {
    if let Some(alternatives) = property["anyOf"].as_array() {
        let there = alternatives.iter().find(|kind| kind["type"] != "null");
        return there.map_or(property, |kind| resolved(schema, kind));
    }
    let definition = property["$ref"].as_str().and_then(|at| at.strip_prefix('#'));
    definition.and_then(|at| schema.pointer(at)).unwrap_or(property)
}

/// The words that a value may be, and what they mean.
fn choices(kind: &Value) -> impl Iterator<Item = (&str, String)> {
    kind["oneOf"].as_array().into_iter().flatten().filter_map(|choice| {
        let meaning = choice["description"].as_str().unwrap_or_default();
        Some((choice["const"].as_str()?, meaning.replace('\n', " ")))
    })
}

fn first_sentence(text: &str) -> String {
    let line = text.replace('\n', " ");
    line.split_inclusive(". ").next().unwrap_or_default().trim().to_owned()
}
