//! Rules that types cannot hold: each names the key, the value and what is asked of it.

use std::fmt::{Debug, Display};

/// A value that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Dotted path of the key within its section.
    pub key: String,
    /// The value.
    pub value: String,
    /// What is asked of it, such as "must be at least 1".
    pub rule: String,
}

/// `value >= least`.
pub fn at_least(least: u64, key: &str, value: u64) -> Result<(), Violation> {
    hold(value >= least, key, value, || format!("must be at least {least}"))
}

/// Finite and above 0.
pub fn positive(key: &str, value: f64) -> Result<(), Violation> {
    number(key, value, |value| value > 0.0, "must be above 0")
}

/// Finite and not below 0.
pub fn not_negative(key: &str, value: f64) -> Result<(), Violation> {
    number(key, value, |value| value >= 0.0, "must be 0 or above")
}

/// In [0, 1].
pub fn share(key: &str, value: f64) -> Result<(), Violation> {
    number(key, value, |value| (0.0..=1.0).contains(&value), "must be between 0 and 1")
}

/// A finite number that fulfils `test`.
pub fn number(
    key: &str,
    value: f64,
    test: impl Fn(f64) -> bool,
    rule: &str,
) -> Result<(), Violation> {
    hold(value.is_finite() && test(value), key, format!("{value:?}"), || rule.into())
}

/// At least one entry, none twice.
pub fn distinct<T: PartialEq + Debug>(key: &str, values: &[T]) -> Result<(), Violation> {
    let repeated = (1..values.len()).any(|i| values[..i].contains(&values[i]));
    let held = !values.is_empty() && !repeated;
    hold(held, key, format!("{values:?}").to_lowercase(), || {
        "must have at least one entry, and none twice".into()
    })
}

/// Any other rule.
pub fn hold(
    held: bool,
    key: &str,
    value: impl Display,
    rule: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if held {
        return Ok(());
    }
    Err(Violation { key: key.into(), value: value.to_string(), rule: rule() })
}
