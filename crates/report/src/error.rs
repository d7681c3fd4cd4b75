use std::path::PathBuf;

/// What can go wrong when a report is written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The operating system refused.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Its reason.
        reason: std::io::Error,
    },
    /// The picture has no PNG, such as one without pixels.
    #[error("cannot encode {}: {reason}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The encoder's reason.
        reason: image::ImageError,
    },
    /// A picture of the page has no PNG, such as one without pixels.
    #[error("cannot encode the picture \"{title}\": {reason}")]
    Picture {
        /// The figure's title.
        title: String,
        /// The encoder's reason.
        reason: image::ImageError,
    },
    /// The plotting library refused.
    #[error("cannot draw the plot \"{title}\": {reason}")]
    Plot {
        /// The plot's title.
        title: String,
        /// The library's reason.
        reason: String,
    },
}
