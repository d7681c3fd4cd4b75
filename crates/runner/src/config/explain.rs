//! serde's error messages taken apart, said in plain words, and narrowed down to the key that causes them.

use super::{error::Problem, locate::KeyPath};
use serde_yaml::Value;

/// The problem behind an error that serde reported at `path` within `section`, and the path of the very key.
///
/// Values inside an internally tagged enum are buffered by serde, which loses the path below the enum; the value that
/// the message quotes finds it again if it stands there once.
pub fn explain(message: &str, section: &Value, mut path: KeyPath) -> (KeyPath, Problem) {
    let problem = problem(message);
    if let Some(Value::Mapping(mapping)) = descend(section, &path) {
        let mut culprits = mapping
            .iter()
            .filter_map(|(key, value)| Some((key.as_str()?, value)))
            .filter(|(key, value)| causes(&problem, key, value));
        if let (Some((key, _)), None) = (culprits.next(), culprits.next()) {
            path.push(key.to_string());
        }
    }
    (path, problem)
}

/// Whether a problem reported about a mapping is about this entry of it.
fn causes(problem: &Problem, key: &str, value: &Value) -> bool {
    match problem {
        Problem::UnknownKey { found, .. } => key == found,
        Problem::UnknownValue { found, .. } => value.as_str() == Some(found),
        // A mapping where something else belongs is itself the culprit, whatever it holds.
        Problem::WrongType { found, .. } => found != "a mapping" && describe(value) == *found,
        _ => false,
    }
}

/// The value at a path.
pub fn descend<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Sequence(list) => list.get(key.parse::<usize>().ok()?),
        value => value.get(key),
    })
}

/// A value in the words of an error message.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(value) => value.to_string(),
        // Debug prints 1.0 as 1.0 and 1e-300 in few characters.
        Value::Number(number) if number.is_f64() => {
            format!("{:?}", number.as_f64().unwrap_or(f64::NAN))
        }
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("text {text:?}"),
        Value::Sequence(_) => "a list".into(),
        Value::Mapping(_) => "a mapping".into(),
        Value::Tagged(tagged) => format!("a value tagged {}", tagged.tag),
    }
}

fn problem(message: &str) -> Problem {
    if let Some((found, allowed)) = unknown(message, "unknown field `") {
        Problem::UnknownKey { found, allowed }
    } else if let Some((found, allowed)) = unknown(message, "unknown variant `") {
        Problem::UnknownValue { found, allowed }
    } else if let Some(key) = message.strip_prefix("missing field `") {
        Problem::Missing { key: key.trim_end_matches('`').to_string() }
    } else if let Some((found, expected)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .or_else(|| message.strip_prefix("invalid length "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        let counted = message.starts_with("invalid length ");
        let found = if counted { format!("{found} values") } else { found_in_words(found) };
        Problem::WrongType { found, expected: expected_in_words(expected) }
    } else {
        Problem::Other(message.to_string())
    }
}

fn unknown(message: &str, prefix: &str) -> Option<(String, Vec<String>)> {
    let (found, rest) = message.strip_prefix(prefix)?.split_once('`')?;
    // Of "expected one of `a`, `b`", every second piece between backticks is a name.
    let allowed = rest.split('`').skip(1).step_by(2).map(str::to_string).collect();
    Some((found.to_string(), allowed))
}

fn found_in_words(found: &str) -> String {
    match found {
        "unit value" | "Option value" => "nothing".into(),
        "sequence" => "a list".into(),
        "map" => "a mapping".into(),
        "enum" => "a tagged value".into(),
        _ => match found.split_once(' ') {
            Some(("string", text)) => format!("text {text}"),
            _ => found.split('`').nth(1).unwrap_or(found).to_string(),
        },
    }
}

fn expected_in_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "string" | "path string" => "text".into(),
        "a sequence" => "a list".into(),
        "a map" => "a mapping".into(),
        _ if expected.starts_with("struct ") => "a mapping".into(),
        _ if expected.starts_with("internally tagged enum ") => "a mapping".into(),
        _ if expected.starts_with("an array of length ") => {
            format!("a list of {} values", expected.trim_start_matches("an array of length "))
        }
        _ => expected.into(),
    }
}
