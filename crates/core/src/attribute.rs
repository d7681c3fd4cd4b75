use serde::{Deserialize, Serialize};

/// Something to be read in an image, such as its class: every image has one of the values, and labels are their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// What it is called, such as "main colour".
    pub name: String,
    /// What its values are called, by number.
    pub values: Vec<String>,
}

impl Attribute {
    /// The name of the attribute that samples are asked for by number; where there is one, it is the first.
    pub const CLASS: &str = "class";

    /// An attribute from its names.
    pub fn new(name: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { name: name.to_owned(), values: values.into_iter().map(Into::into).collect() }
    }

    /// Number of values.
    pub fn num_values(&self) -> i64 {
        self.values.len() as i64
    }
}
