//! What is wrong with an experiment file: where, which key, what was found, what is allowed.

use super::{locate::Position, suggest::nearest};
use std::fmt;

/// Where a value of an experiment comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the file.
    File {
        /// The file's name, as the user gave it.
        file: String,
        /// Line and column.
        position: Position,
    },
    /// The command line.
    Set {
        /// The argument of `--set`.
        argument: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, position } => write!(f, "{file}:{position}"),
            Self::Set { argument } => write!(f, "--set {argument}"),
        }
    }
}

/// An experiment that cannot be run as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {}{}{problem}", key, if key.is_empty() { "" } else { ": " })]
pub struct ConfigError {
    /// Where the value stands.
    pub place: Place,
    /// Dotted path of the key; empty for the file as a whole.
    pub key: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The text is not YAML.
    Syntax(String),
    /// The key stands in the file twice.
    Duplicate {
        /// Where it stands for the first time.
        first: Position,
    },
    /// There is no such key.
    UnknownKey {
        /// The key found.
        found: String,
        /// The keys there are.
        allowed: Vec<String>,
    },
    /// There is no model of this name.
    UnknownModel {
        /// The name found.
        found: String,
        /// The models there are.
        allowed: Vec<String>,
    },
    /// The value is none of a list.
    UnknownValue {
        /// The value found.
        found: String,
        /// The values there are.
        allowed: Vec<String>,
    },
    /// The value is of another type.
    WrongType {
        /// What was found.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A key is missing.
    Missing {
        /// Its name.
        key: String,
    },
    /// The value breaks a rule.
    Invalid {
        /// The value.
        value: String,
        /// What is asked of it, such as "must be at least 1".
        rule: String,
    },
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(message) => write!(f, "not valid YAML: {message}"),
            Self::Duplicate { first } => write!(f, "given twice, first at {first}"),
            Self::UnknownKey { found, allowed } => {
                write!(f, "unknown key{}", suggestion(found, allowed))
            }
            Self::UnknownModel { found, allowed } => {
                write!(f, "there is no model `{found}`{}", suggestion(found, allowed))
            }
            Self::UnknownValue { found, allowed } => {
                write!(f, "`{found}` is not among the allowed values{}", suggestion(found, allowed))
            }
            Self::WrongType { found, expected } => write!(f, "expected {expected}, found {found}"),
            Self::Missing { key } => write!(f, "`{key}` is missing"),
            Self::Invalid { value, rule } => write!(f, "is {value}, but {rule}"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

fn suggestion(found: &str, allowed: &[String]) -> String {
    let meant = match nearest(found, allowed.iter().map(String::as_str)) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => ";".into(),
    };
    let names: Vec<String> = allowed.iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "; none is allowed here".into(),
        names => format!("{meant} allowed: {}", names.join(", ")),
    }
}
