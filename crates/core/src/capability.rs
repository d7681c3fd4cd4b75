use crate::{Batch, Noise, OnStep, Result, SampleRequest};
use std::fmt;
use tch::Tensor;

/// Why a family cannot do something; the report prints it beside its "—".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lacks(pub &'static str);

impl fmt::Display for Lacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A capability, or the reason why there is none. Being the object itself, it cannot disagree with the implementation.
pub type Offer<'a, T> = std::result::Result<&'a T, Lacks>;

/// How a figure of likelihood relates to the true one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LikelihoodKind {
    /// The model's own negative log-likelihood.
    Exact,
    /// Not below the true negative log-likelihood, in expectation.
    Bound,
    /// Neither: solver or estimator errors go both ways.
    Estimate,
}

/// One way of computing likelihood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LikelihoodMethod {
    /// The field's name for it, such as `exact`, `elbo` or `iwae-64`.
    pub name: String,
    /// What its figure means.
    pub kind: LikelihoodKind,
    /// Random draws an image (latents, noise levels, probes) that the figure is an average over; 0: nothing is random.
    pub draws: u64,
    /// Network passes an image: a dear method is run on fewer images. One with its gradient with
    /// respect to the image counts as two.
    pub passes: u64,
}

/// Likelihood of 8-bit images.
pub trait Likelihood {
    /// The ways this model offers, never empty; the first is the headline.
    fn methods(&self) -> Vec<LikelihoodMethod>;

    /// Negative log-likelihood of each image's 8-bit levels, given its conditions, in nats: f64 `[n]` on the host.
    ///
    /// `method` is one of [`Likelihood::methods`]; draws come from `noise`.
    fn nats(
        &self,
        method: &LikelihoodMethod,
        batch: &Batch,
        noise: &Noise,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor>;
}

/// A latent space. Latents are f32 `[n, d]`, standard normal under the model's prior (a hierarchical prior is whitened),
/// so reconstruction, interpolation and walks need nothing more than these methods.
pub trait Latents {
    /// Numbers in a latent: d.
    fn latent_dim(&self) -> i64;

    /// The latents that stand for given images under their conditions.
    fn encode(&self, batch: &Batch, noise: &Noise, on_step: &mut dyn OnStep) -> Result<Tensor>;

    /// The images that latents stand for, f32 `[n, c, h, w]` in [-1, 1]. What is left to chance after the latents are
    /// given comes from `request.noise`.
    fn decode(&self, z: &Tensor, request: &SampleRequest) -> Result<Tensor>;
}

/// A forward process that turns images into noise.
pub trait Noising {
    /// Images noised to a share `time` of the process: 0 is clean, 1 is the end.
    ///
    /// `images`: f32 `[n, c, h, w]` in [-1, 1]. Returns the same shape, scaled for looking at, clamped to [-1, 1].
    fn noised(&self, images: &Tensor, time: f64, noise: &Noise) -> Result<Tensor>;
}

/// In-painting: completing an image around known pixels.
///
/// A model that was built to be shown known pixels ([`DataSpec::known_pixels`](crate::DataSpec::known_pixels)) completes
/// images as it was trained to; any other by its own means at sampling time.
pub trait Inpaint {
    /// How holes are filled and at what cost, for a table's reader: `resampling (RePaint), 10 steps, each 4 times`.
    fn method(&self) -> String;

    /// Completed images, f32 `[n, c, h, w]` in [-1, 1].
    ///
    /// `request.conditions.known` is set; known pixels come back unchanged, bit for bit, and what lies where the mask is 0 is
    /// not looked at.
    fn inpaint(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor>;
}

/// Editing: `source` holds the images with the conditions they fulfil, `request` the conditions they shall fulfil.
pub trait Edit {
    /// How images are edited and at what cost, for a table's reader.
    fn method(&self) -> String;

    /// Whether what the source's conditions say of it has any effect.
    fn reads_source(&self) -> bool;

    /// Edited images, f32 `[n, c, h, w]` in [-1, 1].
    ///
    /// `strength` in [0, 1] goes from the source itself, bit for bit, to as much of a new image as the method can make. Where
    /// `request.conditions.known` is set, the pixels of the source under its mask come back unchanged, bit for bit; `source`
    /// may have conditions that ask for nothing.
    fn edit(
        &self,
        source: &Batch,
        request: &SampleRequest,
        strength: f64,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor>;
}
