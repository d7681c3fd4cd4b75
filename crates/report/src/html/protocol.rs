//! The protocol that scores were taken under.

use super::{context::Context, markup::escaped};
use std::collections::BTreeSet;

/// The protocol of each reference split, key by key.
pub fn table(context: &Context<'_>) -> String {
    let Some(splits) = context.results.protocol.as_object() else { return String::new() };
    let keys: BTreeSet<&String> = splits
        .values()
        .filter_map(|split| split.as_object())
        .flat_map(|split| split.keys())
        .collect();
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(values) => {
            values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    let row = |key: &&String| {
        let entry = |split: &serde_json::Value| {
            let value = split.get(key.as_str()).map(text).unwrap_or_default();
            format!("<td class=\"words\">{}</td>", escaped(&value))
        };
        let entries: String = splits.values().map(entry).collect();
        format!("<tr><th scope=\"row\">{}</th>{entries}</tr>\n", escaped(&key.replace('_', " ")))
    };
    let head = |split: &String| format!("<th scope=\"col\">{}</th>", escaped(split));
    let heads: String = splits.keys().map(head).collect();
    let rows: String = keys.iter().map(row).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Protocol\">\n<table class=\"protocol\">\n\
         <thead><tr><td>against the split</td>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}
