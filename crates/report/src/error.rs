use std::path::PathBuf;

/// What can go wrong when a report is written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The operating system refused.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// The picture has no PNG, such as one without pixels.
    #[error("cannot encode {}: {source}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The encoder's reason.
        source: image::ImageError,
    },
    /// A picture of the page has no PNG, such as one without pixels.
    #[error("cannot encode the picture \"{title}\": {source}")]
    Picture {
        /// The figure's title.
        title: String,
        /// The encoder's reason.
        source: image::ImageError,
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
