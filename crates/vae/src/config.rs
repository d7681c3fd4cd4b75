use paragone_core::{DataSpec, Error, Result};
use paragone_nn::pixel::PixelLikelihood;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A variational autoencoder: a ladder of stochastic groups, or a single vector of latents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VaeConfig {
    /// Size of the only latent, a vector: the flat VAE of Kingma & Welling 2014, which really compresses. Without it the
    /// model is a ladder, and `latents` says of what.
    pub latent_dim: Option<i64>,
    /// The ladder's stochastic groups from the top down: first those that are one vector an image, then those of each
    /// resolution, coarsest first. A level lists the latent channels of its groups, in the order they are drawn; it may list
    /// none. By default `[[32], [16, 16], [8, 8], [4], ..]` for as many resolutions as `widths` has.
    pub latents: Option<Vec<Vec<i64>>>,
    /// Feature channels of each resolution from the finest, which is the image's divided by `patch_size`, on; each resolution
    /// is half the one before.
    pub widths: Vec<i64>,
    /// Feature channels where the image is one vector.
    pub vector_width: i64,
    /// Side of the squares of pixels that the finest features stand for. The likelihood is of single pixels all the same.
    pub patch_size: i64,
    /// Residual blocks of the encoder at each resolution, and of the decoder after each stochastic group (or at a resolution
    /// without one).
    pub blocks: i64,
    /// Size of the vector that stands for the class and the caption.
    pub condition_dim: i64,
    /// Distribution of an 8-bit pixel given the latents.
    pub likelihood: PixelLikelihood,
    /// Weight of the KL divergence in the training loss (Higgins et al. 2017); 1 trains the ELBO itself.
    pub beta: f64,
    /// Share of the budget over which the weight of the KL divergence rises linearly to `beta` (Sønderby et al. 2016).
    pub kl_warmup: f64,
    /// Bits an image that each stochastic group may spend free of charge in the training loss (Kingma et al. 2016), so that
    /// none collapses onto its prior. Its prior learns from them too: samples are of what it knows.
    pub free_bits: f64,
    /// Draws of the importance-weighted bound (Burda et al. 2016); 0: that bound is not offered.
    pub iwae_draws: u64,
    /// Rounds of pseudo-Gibbs sampling (Rezende et al. 2014) that fill a hole of a model that was shown none in training.
    pub inpaint_sweeps: u64,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            latent_dim: None,
            latents: None,
            widths: vec![32, 64, 128],
            vector_width: 256,
            patch_size: 1,
            blocks: 1,
            condition_dim: 64,
            likelihood: PixelLikelihood::Auto,
            beta: 1.0,
            kl_warmup: 0.1,
            free_bits: 2.0,
            iwae_draws: 64,
            inpaint_sweeps: 20,
        }
    }
}

/// One resolution of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) height: i64,
    pub(crate) width: i64,
    /// Feature channels.
    pub(crate) channels: i64,
    /// Latent channels of each stochastic group, in the order they are drawn.
    pub(crate) groups: Vec<i64>,
}

impl VaeConfig {
    /// Checks every value; [`VaeConfig::levels`] then succeeds.
    pub(crate) fn validate(&self, data: &DataSpec) -> Result<()> {
        let at_least = |key: &str, value: i64, least: i64| {
            if value < least {
                return Err(Error::invalid(key, value, format!("must be at least {least}")));
            }
            Ok(())
        };
        let not_negative = |key: &str, value: f64| {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::invalid(key, value, "must be a number from 0 on"));
            }
            Ok(())
        };
        if let Some(dim) = self.latent_dim {
            at_least("latent_dim", dim, 1)?;
        }
        if self.widths.is_empty() {
            return Err(Error::invalid("widths", "[]", "must name at least one resolution"));
        }
        for (i, &width) in self.widths.iter().enumerate() {
            at_least(&format!("widths.{i}"), width, 1)?;
        }
        at_least("vector_width", self.vector_width, 1)?;
        at_least("patch_size", self.patch_size, 1)?;
        at_least("blocks", self.blocks, 1)?;
        at_least("condition_dim", self.condition_dim, 1)?;
        at_least("inpaint_sweeps", self.inpaint_sweeps as i64, 1)?;
        not_negative("beta", self.beta)?;
        not_negative("free_bits", self.free_bits)?;
        if !(0.0..=1.0).contains(&self.kl_warmup) {
            return Err(Error::invalid(
                "kl_warmup",
                self.kl_warmup,
                "must be a share, from 0 to 1",
            ));
        }
        self.levels(data)?;
        Ok(())
    }

    /// The ladder's levels from the top down; the first has at least one group.
    pub(crate) fn levels(&self, data: &DataSpec) -> Result<Vec<Level>> {
        let mut groups = self.groups()?;
        let (height, width) = (data.shape.height, data.shape.width);
        let halvings = self.widths.len() as u32 - 1;
        let divisible = |by: i64| height % by == 0 && width % by == 0;
        if !divisible(self.patch_size) {
            let rule = format!("must divide {height}x{width} images");
            return Err(Error::invalid("patch_size", self.patch_size, rule));
        }
        let coarsest = 1i64.checked_shl(halvings).and_then(|f| f.checked_mul(self.patch_size));
        if !coarsest.is_some_and(divisible) {
            let patches = format!("{}x{}", height / self.patch_size, width / self.patch_size);
            let rule =
                format!("asks to halve {patches} features {halvings} times; use fewer widths");
            return Err(Error::invalid("widths", format!("{:?}", self.widths), rule));
        }
        let vector = groups.remove(0);
        let vector = (!vector.is_empty()).then_some(Level {
            height: 1,
            width: 1,
            channels: self.vector_width,
            groups: vector,
        });
        let resolutions = self.widths.iter().enumerate().rev().zip(groups);
        let resolutions = resolutions.map(|((i, &channels), groups)| {
            let factor = self.patch_size << i;
            Level { height: height / factor, width: width / factor, channels, groups }
        });
        Ok(vector.into_iter().chain(resolutions).collect())
    }

    /// Latent channels of the groups: of the vector level, then of each resolution from the coarsest on.
    fn groups(&self) -> Result<Vec<Vec<i64>>> {
        let num_levels = self.widths.len() + 1;
        let groups = match (self.latent_dim, &self.latents) {
            (Some(dim), None) => {
                let mut groups = vec![Vec::new(); num_levels];
                groups[0].push(dim);
                return Ok(groups);
            }
            (None, None) => {
                let ladder = [vec![32], vec![16, 16], vec![8, 8]].into_iter();
                return Ok(ladder.chain(std::iter::repeat(vec![4])).take(num_levels).collect());
            }
            (Some(dim), Some(_)) => {
                let rule = "is the only latent of a flat VAE: leave `latents` out";
                return Err(Error::invalid("latent_dim", dim, rule));
            }
            (None, Some(groups)) => groups,
        };
        if groups.len() != num_levels {
            let rule = format!(
                "must list {num_levels} levels: the vector and the {} resolutions of `widths`",
                self.widths.len()
            );
            return Err(Error::invalid("latents", format!("{groups:?}"), rule));
        }
        if groups[..2].iter().all(Vec::is_empty) {
            let rule =
                "must have a group in the first or the second level, which nothing else feeds";
            return Err(Error::invalid("latents", format!("{groups:?}"), rule));
        }
        for (i, level) in groups.iter().enumerate() {
            for (j, &channels) in level.iter().enumerate() {
                if channels < 1 {
                    let key = format!("latents.{i}.{j}");
                    return Err(Error::invalid(key, channels, "must be at least 1"));
                }
            }
        }
        Ok(groups.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Vae, fixtures::data};
    use paragone_core::Family;

    fn sizes(config: &VaeConfig, data: &DataSpec) -> Vec<(i64, i64, i64, Vec<i64>)> {
        let levels = config.levels(data).unwrap();
        levels.into_iter().map(|l| (l.height, l.width, l.channels, l.groups)).collect()
    }

    #[test]
    fn one_number_makes_it_flat() {
        let config: VaeConfig = serde_json::from_str(r#"{"latent_dim": 64}"#).unwrap();
        config.validate(&data(1, 28, 28)).unwrap();
        let VaeConfig { vector_width, widths, .. } = VaeConfig::default();
        let got = sizes(&config, &data(1, 28, 28));
        assert_eq!(got[0], (1, 1, vector_width, vec![64]));
        assert!(got[1..].iter().all(|(.., groups)| groups.is_empty()));
        assert_eq!(got.len(), widths.len() + 1);
    }

    #[test]
    fn levels_halve_from_patches_up() {
        let config = VaeConfig {
            patch_size: 2,
            widths: vec![5, 6],
            latents: Some(vec![vec![], vec![3, 2], vec![1]]),
            ..VaeConfig::default()
        };
        let want = vec![(4, 6, 6, vec![3, 2]), (8, 12, 5, vec![1])];
        assert_eq!(sizes(&config, &data(3, 16, 24)), want);
    }

    #[test]
    fn defaults_fit_the_usual_images_and_tiny_fits_8x8() {
        for data in [data(1, 28, 28), data(3, 16, 16), data(3, 32, 32), data(3, 64, 64)] {
            VaeConfig::default().validate(&data).unwrap();
        }
        Vae::tiny().validate(&data(1, 8, 8)).unwrap();
    }

    #[test]
    fn what_cannot_be_is_named() {
        let cases = [
            (
                r#"{"widths": [8, 8, 8]}"#,
                "widths is [8, 8, 8], but asks to halve 20x30 features 2 times; use fewer widths",
            ),
            (r#"{"widths": []}"#, "widths is [], but must name at least one resolution"),
            (r#"{"widths": [8, 0]}"#, "widths.1 is 0, but must be at least 1"),
            (r#"{"patch_size": 4}"#, "patch_size is 4, but must divide 20x30 images"),
            (r#"{"patch_size": 0}"#, "patch_size is 0, but must be at least 1"),
            (r#"{"latent_dim": 0}"#, "latent_dim is 0, but must be at least 1"),
            (
                r#"{"latent_dim": 9, "latents": [[1]]}"#,
                "latent_dim is 9, but is the only latent of a flat VAE: leave `latents` out",
            ),
            (
                r#"{"widths": [8, 8], "latents": [[1]]}"#,
                "latents is [[1]], but must list 3 levels: the vector and the 2 resolutions of `widths`",
            ),
            (
                r#"{"widths": [8, 8], "latents": [[], [], [1]]}"#,
                "latents is [[], [], [1]], but must have a group in the first or the second level, which \
                 nothing else feeds",
            ),
            (
                r#"{"widths": [8, 8], "latents": [[], [1], [4, 0]]}"#,
                "latents.2.1 is 0, but must be at least 1",
            ),
            (r#"{"kl_warmup": 1.5}"#, "kl_warmup is 1.5, but must be a share, from 0 to 1"),
            (r#"{"free_bits": -1}"#, "free_bits is -1, but must be a number from 0 on"),
            (r#"{"beta": -0.5}"#, "beta is -0.5, but must be a number from 0 on"),
        ];
        for (config, want) in cases {
            let config: VaeConfig = serde_json::from_str(config).unwrap();
            let error = config.validate(&data(3, 20, 30)).unwrap_err();
            assert_eq!(error.to_string(), want);
        }
        let unknown = serde_json::from_str::<VaeConfig>(r#"{"latent_dims": 64}"#).unwrap_err();
        assert!(unknown.to_string().contains("unknown field `latent_dims`"));
    }
}
