//! The protocol that scores were taken under.

use super::{context::Context, markup::escaped};
use serde_json::Value;
use std::collections::BTreeSet;

/// The protocols, key by key: of comparisons of features by extractor and reference split, and of all other scores.
pub fn tables(context: &Context<'_>) -> String {
    let protocol = &context.results.protocol;
    let other_features = protocol.get("other_features").and_then(Value::as_object);
    let headline = context.headline_features();
    let extractors =
        std::iter::once((&headline, protocol)).chain(other_features.into_iter().flatten());
    let splits = context.results.splits();
    let of_features: Vec<(String, &Value)> = extractors
        .flat_map(|(name, of_splits)| {
            splits
                .iter()
                .filter_map(move |split| Some((format!("{name}, {split}"), of_splits.get(split)?)))
        })
        .collect();
    let other_scores = protocol.get("other_scores").map(|other| (String::new(), other));
    table("Scores in features, by the split compared with", &of_features)
        + &table("Other scores", other_scores.as_slice())
}

/// Values of each column by their keys.
fn table(caption: &str, columns: &[(String, &Value)]) -> String {
    let keys: BTreeSet<&String> =
        columns.iter().filter_map(|(_, of)| of.as_object()).flat_map(|of| of.keys()).collect();
    if keys.is_empty() {
        return String::new();
    }
    let row = |key: &&String| {
        let entry = |(_, of): &(String, &Value)| {
            let value = of.get(key.as_str()).map(text).unwrap_or_default();
            format!("<td class=\"words\">{}</td>", escaped(&value))
        };
        let entries: String = columns.iter().map(entry).collect();
        format!("<tr><th scope=\"row\">{}</th>{entries}</tr>\n", escaped(&key.replace('_', " ")))
    };
    let head = |(name, _): &(String, &Value)| format!("<th scope=\"col\">{}</th>", escaped(name));
    let heads: String = columns.iter().map(head).collect();
    let rows: String = keys.iter().map(row).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n<table class=\"protocol\">\n\
         <caption><span>{caption}</span></caption>\n<thead><tr><td></td>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "—".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                format!("{} {}", key.replace('_', " "), text(value))
            };
            fields.iter().map(field).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}
