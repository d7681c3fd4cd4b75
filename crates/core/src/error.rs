/// What can go wrong inside a family.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's [`OnStep`](crate::OnStep) asked to stop.
    #[error("stopped")]
    Stopped,
    /// A value that the configuration's type admits and the family does not.
    #[error("{key} is {value}, but {rule}")]
    InvalidConfig {
        /// Path of the key within the family's section, such as `sampler.steps`, or `widths.0` for a list's first entry.
        key: String,
        /// The value found.
        value: String,
        /// What is asked of it, such as "must be at least 1".
        rule: String,
    },
    /// The request asks for something that this model cannot do.
    #[error("{0}")]
    Unsupported(String),
    /// libtorch failed.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::InvalidConfig`].
    pub fn invalid(
        key: impl Into<String>,
        value: impl std::fmt::Display,
        rule: impl Into<String>,
    ) -> Self {
        Self::InvalidConfig { key: key.into(), value: value.to_string(), rule: rule.into() }
    }
}
