//! Feature extractors: what maps 8-bit images to the vectors that scores compare.

use crate::{MetricError, Result};
use std::{fmt::Debug, ops::ControlFlow};
use tch::{Kind, Tensor};

/// Called with images done and images in all; [`ControlFlow::Break`] ends the work.
pub type OnImages<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// An [`OnImages`] that nobody watches.
pub(crate) fn unwatched(_done: u64, _all: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Maps 8-bit images to feature vectors; frozen, so that scores of different models compare.
pub trait FeatureExtractor: Debug + Send {
    /// What protocols call it, such as `classifier/fashion-mnist`.
    fn name(&self) -> &str;

    /// SHA-256 of all that decides features but this program, in lower-case hexadecimal: its weights, and how images are
    /// prepared where that is chosen.
    fn hash(&self) -> &str;

    /// Numbers in a feature vector: d.
    fn dim(&self) -> i64;

    /// Features of `images_u8`, u8 `[n, c, h, w]` on any device, any n: f32 `[n, d]` on the host.
    ///
    /// # Errors
    /// [`MetricError::Shape`] for images of a kind or shape that it was not made for, [`MetricError::Stopped`] if `on_images`
    /// asked for that before the last image.
    fn features_with_progress(&self, images_u8: &Tensor, on_images: OnImages<'_>)
    -> Result<Tensor>;

    /// [`FeatureExtractor::features_with_progress`] without a report of progress.
    ///
    /// # Errors
    /// [`MetricError::Shape`] as there.
    fn features(&self, images_u8: &Tensor) -> Result<Tensor> {
        self.features_with_progress(images_u8, &mut unwatched)
    }

    /// Class logits of images from their features, f32 `[n, d]` -> f32 `[n, classes]` on the host: from an extractor that is
    /// a classifier whose last layer takes its features.
    fn logits_of_features(&self, _features: &Tensor) -> Option<Result<Tensor>> {
        None
    }
}

/// Checks that images are u8 `[n, channels, h, w]`, of the given height and width where one is asked for.
pub(crate) fn check_images(
    images_u8: &Tensor,
    channels: i64,
    size: Option<(i64, i64)>,
) -> Result<()> {
    let fits = matches!(images_u8.size()[..], [_, c, h, w]
        if c == channels && size.is_none_or(|size| size == (h, w)));
    if fits && images_u8.kind() == Kind::Uint8 {
        return Ok(());
    }
    let (height, width) =
        size.map_or(("h".into(), "w".into()), |(h, w)| (h.to_string(), w.to_string()));
    Err(MetricError::Shape {
        what: "images",
        expected: format!("Uint8 [n, {channels}, {height}, {width}]"),
        got: format!("{:?} {:?}", images_u8.kind(), images_u8.size()),
    })
}

/// Runs `network` over the first dimension of `images`, `batch` at a time, without gradients: f32 `[n, columns]` on the
/// host. Features do not depend on the batch, only memory and time do.
///
/// `network` takes images as they come and puts them where it wants them.
pub(crate) fn in_batches(
    images: &Tensor,
    batch: i64,
    columns: i64,
    on_images: OnImages<'_>,
    network: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let n = images.size()[0];
    let rows = Tensor::f_zeros([n, columns], (Kind::Float, tch::Device::Cpu))?;
    for start in (0..n).step_by(batch as usize) {
        let len = batch.min(n - start);
        let outputs = tch::no_grad(|| network(&images.narrow(0, start, len)))?;
        rows.narrow(0, start, len).f_copy_(&outputs)?;
        let done = start + len;
        if on_images(done as u64, n as u64).is_break() && done < n {
            return Err(MetricError::Stopped);
        }
    }
    Ok(rows)
}
