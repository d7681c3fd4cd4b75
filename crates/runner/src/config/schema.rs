//! JSON Schema of experiment files, for completion and checks in an editor.

use super::{EvalConfig, ModelTrain, TrainConfig};
use crate::families::{Entry, FAMILIES};
use paragone_data::DataConfig;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The JSON Schema of an experiment file, every family's section included.
pub fn schema() -> Value {
    schema_with(FAMILIES)
}

pub(super) fn schema_with(families: &[Entry]) -> Value {
    let mut definitions = Map::new();
    let models: Vec<Value> = families.iter().map(|entry| model(entry, &mut definitions)).collect();
    definitions.insert("model_train".into(), inline::<ModelTrain>());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Paragone experiment",
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "data", "models"],
        "properties": {
            "name": { "type": "string", "description": "What the experiment is called." },
            "seed": {
                "type": "integer", "minimum": 0, "default": 0,
                "description": "What all randomness of training derives from."
            },
            "data": inline::<DataConfig>(),
            "train": inline::<TrainConfig>(),
            "eval": inline::<EvalConfig>(),
            "models": {
                "type": "object",
                "minProperties": 1,
                "description": "The models to compare, by name.",
                "additionalProperties": { "oneOf": models }
            },
            "sweep": {
                "type": "object",
                "description": "A grid: lists of values by dotted key, such as `models.diffusion.num_timesteps`.",
                "additionalProperties": { "type": "array", "minItems": 1 }
            }
        },
        "$defs": definitions,
    })
}

/// A family's section with the keys that every model has. Its own definitions move to the top under the family's name.
fn model(entry: &Entry, definitions: &mut Map<String, Value>) -> Value {
    let mut schema = Value::from((entry.schema)());
    rename_references(&mut schema, entry.name);
    let Some(object) = schema.as_object_mut() else { return schema };
    object.remove("$schema");
    if let Some(Value::Object(own)) = object.remove("$defs") {
        let named = |(name, definition)| (format!("{}.{name}", entry.name), definition);
        definitions.extend(own.into_iter().map(named));
    }
    let mut properties = Map::new();
    properties.insert("family".into(), json!({ "const": entry.name }));
    properties.insert("train".into(), json!({ "$ref": "#/$defs/model_train" }));
    if let Some(Value::Object(own)) = object.remove("properties") {
        properties.extend(own);
    }
    object.insert("type".into(), json!("object"));
    object.insert("properties".into(), Value::Object(properties));
    object.insert("additionalProperties".into(), json!(false));
    let own = object.remove("required").and_then(|own| own.as_array().cloned()).unwrap_or_default();
    object.insert("required".into(), [vec![json!("family")], own].concat().into());
    schema
}

fn rename_references(schema: &mut Value, family: &str) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(target) if key == "$ref" => {
                        *target = target.replace("#/$defs/", &format!("#/$defs/{family}."));
                    }
                    value => rename_references(value, family),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename_references(value, family)),
        _ => {}
    }
}

fn inline<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().into()
}
