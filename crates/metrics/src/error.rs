use std::path::PathBuf;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// A tensor of another shape or kind than asked for.
    #[error("{what} must be {expected}, but is {got}")]
    Shape {
        /// The tensor, such as `features`.
        what: &'static str,
        /// What is asked of it, such as "[n, 128]".
        expected: String,
        /// What it is.
        got: String,
    },
    /// Too few images for a score to be defined.
    #[error("{what} needs at least {needs} images, but got {got}")]
    TooFew {
        /// The score.
        what: &'static str,
        /// The fewest images it is defined for.
        needs: i64,
        /// The images there are.
        got: i64,
    },
    /// Features that are NaN or infinite.
    #[error("the features of image {row} are not finite")]
    NotFinite {
        /// The first such row.
        row: i64,
    },
    /// Features so large that a score of them is beyond f64.
    #[error("{what} is beyond the range of numbers: the features are too large")]
    Overflow {
        /// The score.
        what: &'static str,
    },
    /// A number outside the range a score is defined for.
    #[error("{key} is {value}, but must be at least {least}")]
    Option {
        /// The option, such as `k`.
        key: &'static str,
        /// Its value.
        value: i64,
        /// Its least value.
        least: i64,
    },
    /// No weights are embedded for a dataset.
    #[error("there is no {role} network for the dataset {dataset}; there is one for {available}")]
    NoWeights {
        /// `feature` or `judge`.
        role: &'static str,
        /// The dataset asked for.
        dataset: String,
        /// The datasets that have one, separated by commas.
        available: String,
    },
    /// Bytes that hold no network of this crate's.
    #[error("not a classifier's weights: {message}")]
    Weights {
        /// What is wrong with them.
        message: String,
    },
    /// A weights file that cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// A file of weights that a user named holds something else.
    #[error("{} does not hold {what}: {message}", path.display())]
    WeightsFile {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// A label that stands for no value of its attribute.
    #[error("a label says {value} for {attribute}, which has the values 0 to {}", values - 1)]
    Label {
        /// The attribute's name.
        attribute: String,
        /// The label.
        value: i64,
        /// Number of values.
        values: i64,
    },
    /// The caller's [`OnImages`](crate::OnImages) asked to stop.
    #[error("stopped")]
    Stopped,
    /// Training met a loss that is NaN or infinite.
    #[error("the classifier's loss is not finite at step {step}")]
    Diverged {
        /// The optimiser step.
        step: u64,
    },
    /// libtorch failed.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
    /// The bridge to libtorch failed.
    #[error(transparent)]
    Bridge(#[from] torch_ext::Error),
}

/// A result whose error is [`MetricError`].
pub type Result<T> = std::result::Result<T, MetricError>;
