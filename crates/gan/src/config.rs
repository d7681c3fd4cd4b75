//! What an experiment can choose about a GAN.

use crate::losses::Adversarial;
use paragone_core::{DataSpec, Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A generative adversarial network: a generator and a discriminator, trained against each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GanConfig {
    /// The game the two networks play.
    pub loss: Adversarial,
    /// Weight, in the discriminator's game, of telling a real image's own condition from the others of its batch, or of the
    /// part of it that is computed at once, by cross-entropy: what is asked for then counts from the first step (wrong
    /// captions: Reed et al. 2016, section 4.2; a batch of them: Zhang et al. 2021, "XMC-GAN", section 4.2). Between two
    /// conditions it is the relativistic game; others that ask for the same pull neither way, and an image computed alone has
    /// none to be told from. 0: none.
    pub mismatched: f64,
    /// Gradient penalty of the discriminator; none given: the one its loss is known with (relativistic: r1-r2,
    /// non-saturating: r1, hinge: none, wasserstein: interpolates).
    pub penalty: Option<PenaltyKind>,
    /// Weight of R1 and R2: γ/2 times the squared gradient norm of an image with pixels in [-1, 1].
    pub gamma: f64,
    /// γ at the end of the budget, as a share of `gamma`; in between it falls geometrically.
    pub final_gamma: f64,
    /// Weight of the penalty on interpolates.
    pub gradient_penalty: f64,
    /// The penalty is computed in steps divisible by this, multiplied by it.
    pub penalty_every: u64,
    /// The generator is updated in steps divisible by this.
    pub generator_every: u64,
    /// Numbers in a latent.
    pub latent_dim: i64,
    /// The network that makes images.
    pub generator: GeneratorConfig,
    /// The network that judges them.
    pub discriminator: DiscriminatorConfig,
    /// What is done to every image, real or generated, before the discriminator sees it.
    pub augment: AugmentConfig,
    /// Gradient steps of the search for the latent of a given image.
    pub inversion_steps: u64,
}

/// A gradient penalty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PenaltyKind {
    /// None.
    None,
    /// Zero-centred, on real images (Mescheder et al. 2018).
    R1,
    /// Zero-centred, on real and on generated images.
    R1R2,
    /// One-centred, on points between real and generated images (WGAN-GP, Gulrajani et al. 2017).
    Interpolates,
}

/// The generator network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratorConfig {
    /// Channels at each resolution, coarse to fine; each resolution doubles the one before, the last is the image's
    /// in patches.
    pub widths: Vec<i64>,
    /// Side of the square of pixels that the finest resolution's positions stand for.
    pub patch: i64,
    /// Residual blocks at each resolution.
    pub blocks: Vec<i64>,
    /// Channels of the vector that modulates every block; 0: the latent enters at the coarsest resolution only.
    pub style_dim: i64,
    /// Whether every block adds noise of its own to each pixel.
    pub pixel_noise: bool,
}

/// The discriminator network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiscriminatorConfig {
    /// Channels at each resolution, coarse to fine; each resolution doubles the one before, the last is the image's
    /// in patches.
    pub widths: Vec<i64>,
    /// Side of the square of pixels that the finest resolution's positions stand for.
    pub patch: i64,
    /// Residual blocks at each resolution.
    pub blocks: Vec<i64>,
    /// Features of an image that its condition's embedding is multiplied with.
    pub features: i64,
}

/// Differentiable augmentation (Zhao et al. 2020), adaptive on request (Karras et al. 2020); off by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Probability of each change at the start, in [0, 1]; 0 without `target`: no augmentation.
    pub strength: f64,
    /// Share by which the discriminator's verdicts on real images may lean to "real", in [-1, 1]: above it the strength
    /// rises, below it falls. None: the strength stays. The verdict of the relativistic loss is that on the pair.
    pub target: Option<f64>,
    /// Images over which an adaptive strength can rise from 0 to 1.
    pub ramp_images: f64,
    /// Farthest shift, as a share of the image; pixels at the border are repeated.
    pub translate: f64,
    /// Side of the square that is blanked, as a share of the image.
    pub cutout: f64,
    /// Whether images are mirrored; half of those that the strength selects.
    pub flip: bool,
}

impl Default for GanConfig {
    fn default() -> Self {
        Self {
            loss: Adversarial::Relativistic,
            mismatched: 0.0,
            penalty: None,
            gamma: 1.0,
            final_gamma: 0.1,
            gradient_penalty: 10.0,
            penalty_every: 4,
            generator_every: 1,
            latent_dim: 64,
            generator: GeneratorConfig::default(),
            discriminator: DiscriminatorConfig::default(),
            augment: AugmentConfig::default(),
            inversion_steps: 100,
        }
    }
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self {
            widths: vec![64, 32],
            patch: 2,
            blocks: vec![1, 1],
            style_dim: 128,
            pixel_noise: true,
        }
    }
}

impl Default for DiscriminatorConfig {
    fn default() -> Self {
        Self { widths: vec![64, 32], patch: 2, blocks: vec![1, 1], features: 128 }
    }
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            strength: 0.0,
            target: None,
            ramp_images: 100_000.0,
            translate: 0.125,
            cutout: 0.5,
            flip: false,
        }
    }
}

impl AugmentConfig {
    /// Whether any image is ever changed.
    pub fn enabled(&self) -> bool {
        self.strength > 0.0 || self.target.is_some()
    }
}

impl GanConfig {
    /// Trains on 8×8 images within seconds.
    pub fn tiny() -> Self {
        Self {
            penalty_every: 2,
            latent_dim: 8,
            generator: GeneratorConfig {
                widths: vec![32, 16],
                patch: 1,
                blocks: vec![1, 1],
                style_dim: 16,
                pixel_noise: true,
            },
            discriminator: DiscriminatorConfig {
                widths: vec![32, 16],
                patch: 1,
                blocks: vec![1, 1],
                features: 16,
            },
            inversion_steps: 30,
            ..Self::default()
        }
    }

    /// The penalty in force.
    pub fn penalty(&self) -> PenaltyKind {
        self.penalty.unwrap_or(match self.loss {
            Adversarial::Relativistic => PenaltyKind::R1R2,
            Adversarial::NonSaturating => PenaltyKind::R1,
            Adversarial::Hinge => PenaltyKind::None,
            Adversarial::Wasserstein => PenaltyKind::Interpolates,
        })
    }

    /// γ at `progress` in [0, 1].
    pub fn gamma_at(&self, progress: f64) -> f64 {
        self.gamma * self.final_gamma.powf(progress)
    }

    /// Checks every value against its rule and the image's size.
    pub(crate) fn validate(&self, data: &DataSpec) -> Result<()> {
        at_least_zero("mismatched", self.mismatched)?;
        at_least_zero("gamma", self.gamma)?;
        share("final_gamma", self.final_gamma, f64::MIN_POSITIVE, 1.0)?;
        at_least_zero("gradient_penalty", self.gradient_penalty)?;
        at_least_one("penalty_every", self.penalty_every as i64)?;
        at_least_one("generator_every", self.generator_every as i64)?;
        at_least_one("latent_dim", self.latent_dim)?;
        at_least_one("inversion_steps", self.inversion_steps as i64)?;
        let generator = &self.generator;
        resolutions("generator", &generator.widths, generator.patch, &generator.blocks, data)?;
        if generator.style_dim < 0 {
            return Err(Error::invalid(
                "generator.style_dim",
                generator.style_dim,
                "must not be negative",
            ));
        }
        let discriminator = &self.discriminator;
        resolutions(
            "discriminator",
            &discriminator.widths,
            discriminator.patch,
            &discriminator.blocks,
            data,
        )?;
        at_least_one("discriminator.features", discriminator.features)?;
        self.augment.validate()
    }
}

impl AugmentConfig {
    fn validate(&self) -> Result<()> {
        share("augment.strength", self.strength, 0.0, 1.0)?;
        if let Some(target) = self.target {
            share("augment.target", target, -1.0, 1.0)?;
        }
        if !(self.ramp_images >= 1.0 && self.ramp_images.is_finite()) {
            return Err(Error::invalid(
                "augment.ramp_images",
                self.ramp_images,
                "must be at least 1",
            ));
        }
        share("augment.translate", self.translate, 0.0, 1.0)?;
        share("augment.cutout", self.cutout, 0.0, 1.0)
    }
}

fn resolutions(
    network: &str,
    widths: &[i64],
    patch: i64,
    blocks: &[i64],
    data: &DataSpec,
) -> Result<()> {
    let list = |values: &[i64]| format!("{values:?}");
    let key = format!("{network}.widths");
    if widths.is_empty() || widths.iter().any(|&width| width < 1) {
        return Err(Error::invalid(
            key,
            list(widths),
            "must have an entry for each resolution, each at least 1",
        ));
    }
    if blocks.len() != widths.len() || blocks.iter().any(|&number| number < 0) {
        let rule = format!("must have {} entries like {key}, none of them negative", widths.len());
        return Err(Error::invalid(format!("{network}.blocks"), list(blocks), rule));
    }
    at_least_one(&format!("{network}.patch"), patch)?;
    let (height, width) = (data.shape.height, data.shape.width);
    let halvings = widths.len() as u32 - 1;
    // Past 62 halvings the factor overflows, and no image divides.
    let factor = 1i64.checked_shl(halvings).filter(|factor| *factor > 0);
    let factor = factor.and_then(|factor| factor.checked_mul(patch));
    if factor.is_none_or(|factor| height % factor != 0 || width % factor != 0) {
        let rule = format!(
            "cuts the image into patches of {patch} and halves it {halvings} times, which \
             {height}×{width} pixels cannot be: give fewer entries, smaller patches or another image size"
        );
        return Err(Error::invalid(key, list(widths), rule));
    }
    Ok(())
}

fn at_least_one(key: &str, value: i64) -> Result<()> {
    if value < 1 { Err(Error::invalid(key, value, "must be at least 1")) } else { Ok(()) }
}

fn at_least_zero(key: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Error::invalid(key, value, "must be finite and at least 0"))
    }
}

fn share(key: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let open = low == f64::MIN_POSITIVE;
    let rule = if open {
        format!("must be in (0, {high}]")
    } else {
        format!("must be in [{low}, {high}]")
    };
    Err(Error::invalid(key, value, rule))
}
