//! Exact distributions of 8-bit pixels, from a network's outputs.
//!
//! For gray a softmax over the 256 levels (van den Oord et al. 2016, section 2.2); for colour a mixture of discretized
//! logistics whose green depends linearly on red, and blue on both (Salimans et al. 2017, equations 1 to 3). Other than
//! there, no probability is clipped or approximated: a bin's mass is computed in logarithms, so the levels sum to one.

mod mixture;
#[cfg(test)]
mod tests;

use mixture::{Mixture, bin_log_probs};
use paragone_core::{Error, NUM_LEVELS, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

/// Components of a [`PixelLikelihood::LogisticMixture`], as in Salimans et al. 2017.
const NUM_MIXTURES: i64 = 10;

/// Which distribution pixels have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PixelLikelihood {
    /// `softmax-256` for gray, `logistic-mixture` for colour.
    #[default]
    Auto,
    /// A probability of its own for each of the 256 levels of a gray pixel.
    #[serde(rename = "softmax-256")]
    Softmax256,
    /// A mixture of ten discretized logistics; in colour, later channels depend linearly on earlier ones.
    LogisticMixture,
}

/// Turns a network's outputs for a pixel into a distribution over its 8-bit levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelHead {
    channels: i64,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Softmax,
    Mixture { mixtures: i64 },
}

impl PixelHead {
    /// The head that `choice` means for images of `channels` channels.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] with key `likelihood` for `softmax-256` on more than one channel: it would leave the
    /// channels of a pixel independent of each other.
    pub fn new(choice: PixelLikelihood, channels: i64) -> Result<PixelHead> {
        let form = match (choice, channels) {
            (PixelLikelihood::Auto | PixelLikelihood::Softmax256, 1) => Form::Softmax,
            (PixelLikelihood::Softmax256, _) => {
                let rule = format!("must be logistic-mixture for images of {channels} channels");
                return Err(Error::invalid("likelihood", "softmax-256", rule));
            }
            _ => Form::Mixture { mixtures: NUM_MIXTURES },
        };
        Ok(PixelHead { channels, form })
    }

    /// Numbers the network puts out for each pixel: 256, or 30 (gray) and 100 (colour) for a mixture.
    pub fn num_parameters(&self) -> i64 {
        match self.form {
            Form::Softmax => NUM_LEVELS,
            Form::Mixture { mixtures } => mixtures * (1 + 2 * self.channels + self.num_couplings()),
        }
    }

    /// Uniform numbers that a pixel is drawn with: one, or for a mixture one for the component and one a channel.
    pub fn num_uniforms(&self) -> i64 {
        match self.form {
            Form::Softmax => 1,
            Form::Mixture { .. } => 1 + self.channels,
        }
    }

    /// Log-probability of each pixel's levels in nats, jointly over its channels.
    ///
    /// `params`: f32 or f64 `[n, num_parameters, h, w]`; `levels`: i64 `[n, c, h, w]` in `0..256`. Returns `[n, h, w]` of
    /// the kind of `params`.
    pub fn log_prob(&self, params: &Tensor, levels: &Tensor) -> Tensor {
        let Form::Mixture { mixtures } = self.form else {
            let target = levels.squeeze_dim(1);
            return -params.cross_entropy_loss(&target, None::<Tensor>, Reduction::None, -100, 0.0);
        };
        let mixture = Mixture::split(params, mixtures, self.channels);
        let x = normalized(levels, params.kind());
        let bins = mixture.bin_log_probs(&mixture.means_given(&x), &x, levels);
        let joint = bins.sum_dim_intlist(2, false, None::<Kind>);
        (mixture.logits.log_softmax(1, None::<Kind>) + joint).logsumexp(1, false)
    }

    /// Draws levels by inverting cumulative distributions.
    ///
    /// `params` as in [`PixelHead::log_prob`]; `uniforms`: `[n, num_uniforms, h, w]` in (0, 1). `temperature` divides
    /// logits and multiplies the scales of logistics; 1 is the distribution itself. Returns i64 `[n, c, h, w]`.
    pub fn sample(&self, params: &Tensor, uniforms: &Tensor, temperature: f64) -> Tensor {
        let uniforms = uniforms.to_kind(params.kind());
        let params = self.tempered(params, temperature);
        let Form::Mixture { mixtures } = self.form else {
            return invert_cdf(&params.softmax(1, None::<Kind>), &uniforms);
        };
        let mixture = Mixture::split(&params, mixtures, self.channels);
        let weights = mixture.logits.softmax(1, None::<Kind>);
        let component = invert_cdf(&weights, &uniforms.narrow(1, 0, 1)); // [n, 1, h, w]
        mixture.only(&component).draw(&uniforms.narrow(1, 1, self.channels))
    }

    /// Draws levels from the guided distribution, p(x | condition)^w p(x)^(1 - w) renormalized, w the guidance scale
    /// (Ho & Salimans 2022, on the log-probabilities of levels); for colour this is done channel by channel.
    ///
    /// `params` and `unprompted` are outputs with and without the condition, the rest as in [`PixelHead::sample`]. Only as
    /// many of the uniforms are used as there are channels.
    pub fn sample_guided(
        &self,
        params: &Tensor,
        unprompted: &Tensor,
        uniforms: &Tensor,
        temperature: f64,
        guidance_scale: f64,
    ) -> Tensor {
        let uniforms = uniforms.to_kind(params.kind());
        let both = [params, unprompted].map(|p| self.tempered(p, temperature));
        let mut drawn: Option<Tensor> = None;
        for channel in 0..self.channels {
            let [c, u] = both.each_ref().map(|p| self.level_logits(p, drawn.as_ref()));
            let guided = &u + (c - &u) * guidance_scale;
            let uniform = uniforms.narrow(1, channel, 1);
            let level = invert_cdf(&guided.softmax(1, None::<Kind>), &uniform);
            drawn = Some(match drawn {
                None => level,
                Some(before) => Tensor::cat(&[before, level], 1),
            });
        }
        drawn.expect("an image has a channel")
    }

    /// The mean in [-1, 1], `[n, c, h, w]` of the kind of `params`. For a mixture, that of its components' centres, each
    /// clamped to [-1, 1] as levels are.
    pub fn mean(&self, params: &Tensor) -> Tensor {
        let Form::Mixture { mixtures } = self.form else {
            let probs = params.softmax(1, None::<Kind>);
            return (probs * level_grid(params)).sum_dim_intlist(1, true, None::<Kind>);
        };
        let mixture = Mixture::split(params, mixtures, self.channels);
        let weights = mixture.logits.softmax(1, None::<Kind>).unsqueeze(2);
        let centres = mixture.unroll(|_, mean, _| mean.clamp(-1.0, 1.0)); // [n, k, c, h, w]
        (weights * centres).sum_dim_intlist(1, false, None::<Kind>)
    }

    /// Unnormalized log-probabilities `[n, 256, h, w]` of the next channel's levels, given those of the earlier channels.
    fn level_logits(&self, params: &Tensor, earlier: Option<&Tensor>) -> Tensor {
        let Form::Mixture { mixtures } = self.form else {
            return params.shallow_clone();
        };
        let mixture = Mixture::split(params, mixtures, self.channels);
        let [n, _, h, w] = params.size()[..] else { panic!("params are [n, p, h, w]") };
        let num_earlier = earlier.map_or(0, |levels| levels.size()[1]);
        let mut logits = mixture.logits.log_softmax(1, None::<Kind>);
        let x = match earlier {
            None => Tensor::zeros([n, 0, h, w], (params.kind(), params.device())),
            Some(levels) => {
                let x = normalized(levels, params.kind());
                let known = mixture.first_channels(num_earlier);
                let bins = known.bin_log_probs(&known.means_given(&x), &x, levels);
                logits += bins.sum_dim_intlist(2, false, None::<Kind>);
                x
            }
        };
        // The 256 levels take the place of the channel axis.
        let mean = mixture.mean_of(num_earlier, &x.unsqueeze(1)).unsqueeze(2);
        let log_scale = mixture.log_scales.narrow(2, num_earlier, 1);
        let levels = Tensor::arange(NUM_LEVELS, (Kind::Int64, params.device()));
        let levels = levels.view([1, NUM_LEVELS, 1, 1]);
        let bins = bin_log_probs(&mean, &log_scale, &normalized(&levels, params.kind()), &levels);
        (bins + logits.unsqueeze(2)).logsumexp(1, false)
    }

    /// Parameters of a narrower or wider distribution.
    fn tempered(&self, params: &Tensor, temperature: f64) -> Tensor {
        if temperature == 1.0 {
            return params.shallow_clone();
        }
        let Form::Mixture { mixtures } = self.form else { return params / temperature };
        let scales = mixtures * self.channels;
        let sizes = [mixtures, scales, scales, mixtures * self.num_couplings()];
        let parts = params.split_with_sizes(sizes, 1);
        let log_scales = &parts[2] + temperature.ln();
        Tensor::cat(&[&(&parts[0] / temperature), &parts[1], &log_scales, &parts[3]], 1)
    }

    /// Pairs of channels of which the later depends on the earlier.
    fn num_couplings(&self) -> i64 {
        self.channels * (self.channels - 1) / 2
    }
}

/// Levels as numbers of `kind` in [-1, 1].
fn normalized(levels: &Tensor, kind: Kind) -> Tensor {
    levels.to_kind(kind) / 127.5 - 1.0
}

/// The 256 levels in [-1, 1], `[1, 256, 1, 1]`, of the kind of `like`.
fn level_grid(like: &Tensor) -> Tensor {
    let levels = Tensor::arange(NUM_LEVELS, (like.kind(), like.device()));
    normalized(&levels, like.kind()).view([1, NUM_LEVELS, 1, 1])
}

/// The index along axis 1 at which the cumulated `probs`, `[n, m, h, w]`, first reach `uniforms`, `[n, 1, h, w]`: i64
/// `[n, 1, h, w]`.
fn invert_cdf(probs: &Tensor, uniforms: &Tensor) -> Tensor {
    let cdf = probs.cumsum(1, None::<Kind>);
    // Scaled by what the rounded sum came to, so that no uniform lies beyond it; the strict comparison skips indices of
    // probability zero.
    let target = uniforms * cdf.narrow(1, -1, 1);
    cdf.lt_tensor(&target).sum_dim_intlist(1, true, Kind::Int64)
}
