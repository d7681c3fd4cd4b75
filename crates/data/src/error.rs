use std::path::PathBuf;

/// What can go wrong with data: a configuration, a file, or fetching one.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A value that the configuration's type admits and the data does not.
    #[error("{key} is {value}, but {rule}")]
    InvalidConfig {
        /// Key within the `data` section.
        key: &'static str,
        /// The value found.
        value: String,
        /// What is asked of it, such as "must be 16, 32 or 64".
        rule: String,
    },
    /// No dataset has this name.
    #[error("there is no dataset named {name}; there are {}", known.join(", "))]
    UnknownDataset {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A dataset's file is not on this machine yet.
    #[error("{dataset} is not here: {} is missing; {remedy}", path.display())]
    NotFetched {
        /// Name of the dataset.
        dataset: String,
        /// The file that was looked for.
        path: PathBuf,
        /// What brings it there.
        remedy: String,
    },
    /// The dataset has no such part.
    #[error("{dataset} has no {split} split: {reason}")]
    NoSuchSplit {
        /// Name of the dataset.
        dataset: String,
        /// The split asked for.
        split: crate::Split,
        /// Why not, or what would give it one.
        reason: String,
    },
    /// The operating system refused.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        reason: std::io::Error,
    },
    /// A file begins with other bytes than its format demands.
    #[error("{}: expected {expected}, but the file begins with {got}", path.display())]
    BadMagic {
        /// The file.
        path: PathBuf,
        /// The format.
        expected: String,
        /// The first bytes found, in hexadecimal.
        got: String,
    },
    /// A file holds another number of bytes (after decompression) than it should: truncated, or not this file at all.
    #[error("{}: expected {expected} bytes, got {got}", path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Bytes it should hold.
        expected: u64,
        /// Bytes it holds.
        got: u64,
    },
    /// A file's content is not the published one.
    #[error("{}: expected SHA-256 {expected}, got {got}", path.display())]
    WrongHash {
        /// The file.
        path: PathBuf,
        /// The published hash of its decompressed content.
        expected: String,
        /// The hash found.
        got: String,
    },
    /// A file's content contradicts its format.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where in the file.
        problem: String,
    },
    /// A file cannot be read as an image.
    #[error("{} is not an image that can be read, PNG or JPEG: {reason}", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// The user asked to stop.
    #[error("stopped")]
    Stopped,
    /// A dataset cannot be fetched this way.
    #[error("cannot fetch {dataset}: {problem}; {advice}")]
    Fetch {
        /// Name of the dataset.
        dataset: String,
        /// What went wrong.
        problem: String,
        /// What to do instead.
        advice: String,
    },
}

impl DataError {
    pub(crate) fn io(path: impl Into<PathBuf>, reason: std::io::Error) -> Self {
        Self::Io { path: path.into(), reason }
    }

    pub(crate) fn malformed(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Malformed { path: path.into(), problem: problem.into() }
    }

    pub(crate) fn invalid(
        key: &'static str,
        value: impl ToString,
        rule: impl Into<String>,
    ) -> Self {
        Self::InvalidConfig { key, value: value.to_string(), rule: rule.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_what_to_change() {
        let missing = DataError::NotFetched {
            dataset: "mnist".into(),
            path: "/d/mnist/x".into(),
            remedy: "run `paragone data fetch mnist`".into(),
        };
        assert_eq!(
            missing.to_string(),
            "mnist is not here: /d/mnist/x is missing; run `paragone data fetch mnist`"
        );
        let size = DataError::invalid("size", 17, "must be 16, 32 or 64");
        assert_eq!(size.to_string(), "size is 17, but must be 16, 32 or 64");
    }
}
