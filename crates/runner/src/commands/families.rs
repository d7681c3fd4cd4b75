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

/// Every key with its default and meaning.
fn print_options(entry: &Entry) -> Result<()> {
    let schema = Value::from((entry.schema)());
    let defaults = (entry.default)().to_value();
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    for (key, property) in properties {
        let default = serde_json::to_string(&defaults[key.as_str()])?;
        let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        say(format_args!("{key}: {default}\n    {meaning}"));
    }
    Ok(())
}

fn first_sentence(text: &str) -> String {
    let line = text.replace('\n', " ");
    line.split_inclusive(". ").next().unwrap_or_default().trim().to_owned()
}
