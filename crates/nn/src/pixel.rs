//! Exact distributions of 8-bit pixels, from a network's outputs.
//!
//! Either a softmax over the 256 levels of each channel (van den Oord et al. 2016, section 2.2), or a mixture of
//! discretized logistics (Salimans et al. 2017, equations 1 to 3). In both, green depends on red, and blue on both. Other
//! than in the latter paper, no probability is clipped or approximated: a bin's mass is computed in logarithms, so the
//! levels sum to one.

mod mixture;
#[cfg(test)]
mod tests;

use mixture::{Mixture, bin_log_probs};
use paragone_core::{NUM_LEVELS, to_levels};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use tch::{
    Device, Kind, Tensor,
    nn::{Init, Path},
};
use torch_ext::{cross_entropy, logistic_mixture};

/// Components of a [`PixelLikelihood::LogisticMixture`], as in Salimans et al. 2017.
const NUM_MIXTURES: i64 = 10;

/// Guidance may raise a level, relative to the likeliest, that has at least this share of the likeliest one's probability
/// (Li et al. 2022, "Contrastive decoding", section 3.2). Of levels that both distributions hardly allow, the ratio is what
/// the network happens to say where it was never corrected; raised to a power, it would fill images with stray pixels.
const PLAUSIBLE: f64 = 0.1;

/// Which distribution pixels have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PixelLikelihood {
    /// `softmax-256` for gray, `logistic-mixture` for colour.
    #[default]
    Auto,
    /// A probability of its own for each of the 256 levels of a channel: learns flat colours fast. In colour, tables of
    /// logits say how later channels depend on earlier ones, the same at every pixel.
    #[serde(rename = "softmax-256")]
    Softmax256,
    /// A mixture of ten discretized logistics; in colour, later channels depend linearly on earlier ones.
    LogisticMixture,
}

/// Turns a network's outputs for a pixel into a distribution over its 8-bit levels.
#[derive(Debug)]
pub struct PixelHead {
    channels: i64,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Softmax {
        /// f32 `[c (c - 1) / 2, 256, 256]` for channel 1 on 0, 2 on 0, 2 on 1, and so on: what a level of the earlier
        /// channel adds to the logits of the later.
        couplings: Option<Tensor>,
    },
    Mixture {
        mixtures: i64,
    },
}

impl PixelHead {
    /// The head that `choice` means for images of `channels` channels. Its own parameters, if it has any, are created below
    /// `path`, and begin at zero.
    pub fn new<'a>(
        path: impl Borrow<Path<'a>>,
        choice: PixelLikelihood,
        channels: i64,
    ) -> PixelHead {
        let form = match (choice, channels) {
            (PixelLikelihood::Auto | PixelLikelihood::Softmax256, 1) => {
                Form::Softmax { couplings: None }
            }
            (PixelLikelihood::Softmax256, _) => {
                let shape = [num_couplings(channels), NUM_LEVELS, NUM_LEVELS];
                let tables = path.borrow().var("couplings", &shape, Init::Const(0.0));
                Form::Softmax { couplings: Some(tables) }
            }
            _ => Form::Mixture { mixtures: NUM_MIXTURES },
        };
        PixelHead { channels, form }
    }

    /// The same head, on the same parameters.
    pub fn shallow_clone(&self) -> PixelHead {
        let form = match &self.form {
            Form::Softmax { couplings } => {
                Form::Softmax { couplings: couplings.as_ref().map(Tensor::shallow_clone) }
            }
            &Form::Mixture { mixtures } => Form::Mixture { mixtures },
        };
        PixelHead { channels: self.channels, form }
    }

    /// Numbers the network puts out for each pixel: 256 a channel, or 30 (gray) and 100 (colour) for a mixture.
    pub fn num_parameters(&self) -> i64 {
        match self.form {
            Form::Softmax { .. } => NUM_LEVELS * self.channels,
            Form::Mixture { mixtures } => {
                mixtures * (1 + 2 * self.channels + num_couplings(self.channels))
            }
        }
    }

    /// Uniform numbers that a pixel is drawn with: one a channel, and one more for a mixture's component.
    pub fn num_uniforms(&self) -> i64 {
        match self.form {
            Form::Softmax { .. } => self.channels,
            Form::Mixture { .. } => 1 + self.channels,
        }
    }

    /// Whether small differences between outputs matter so much that they are to be computed in 32 bits: bf16 resolves
    /// the means of narrow logistics no better than to a level.
    pub fn is_precise(&self) -> bool {
        matches!(self.form, Form::Mixture { .. })
    }

    /// Log-probability of each pixel's levels in nats, jointly over its channels.
    ///
    /// `params`: f32 or f64 `[n, num_parameters, h, w]`, the logits of a softmax also in bf16; `levels`: i64 `[n, c, h, w]` in `0..256`.
    /// Returns `[n, h, w]`, f64 where `params` are, else f32. Below f64 it cannot be differentiated twice on the CPU.
    pub fn log_prob(&self, params: &Tensor, levels: &Tensor) -> Tensor {
        let mixtures = match &self.form {
            Form::Softmax { couplings } => {
                return softmax_log_prob(couplings.as_ref(), params, levels);
            }
            Form::Mixture { mixtures } => *mixtures,
        };
        if params.device() == Device::Cpu && params.kind() == Kind::Float {
            return logistic_mixture(params, levels, mixtures, mixture::LOG_SCALE_RANGE)
                .expect("parameters of every pixel of at most four channels");
        }
        Mixture::split(params, mixtures, self.channels).log_prob(levels)
    }

    /// Draws levels by inverting cumulative distributions.
    ///
    /// `params`: f32 or f64 `[n, num_parameters, h, w]`; `uniforms`: `[n, num_uniforms, h, w]` in (0, 1). `temperature` divides
    /// logits and multiplies the scales of logistics; 1 is the distribution itself. Returns i64 `[n, c, h, w]`.
    pub fn sample(&self, params: &Tensor, uniforms: &Tensor, temperature: f64) -> Tensor {
        let uniforms = uniforms.to_kind(params.kind());
        let Form::Mixture { mixtures } = self.form else {
            return self
                .chain(&uniforms, |earlier| self.level_logits(params, earlier, temperature));
        };
        let mixture = Mixture::split(params, mixtures, self.channels).tempered(temperature);
        let weights = mixture.logits.softmax(1, None::<Kind>);
        let component = invert_cdf(&weights, &uniforms.narrow(1, 0, 1)); // [n, 1, h, w]
        mixture.only(&component).draw(&uniforms.narrow(1, 1, self.channels))
    }

    /// Draws levels from the guided distribution, p(x | condition)^w p(x)^(1 - w) renormalized, w the guidance scale
    /// (Ho & Salimans 2022, on the log-probabilities of levels); for colour this is done channel by channel. A level with
    /// less than a tenth of the likeliest one's probability under the condition gains nothing on it above a scale of 1.
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
        // Image by image: of a mixture, the levels' probabilities under each component take 256 times an image's memory. Whoever has
        // one pixel of each of many images passes them as the pixels of one.
        let one = |i: i64| {
            let [params, unprompted, uniforms] =
                [params, unprompted, &uniforms].map(|t| t.narrow(0, i, 1));
            self.chain(&uniforms, |earlier| {
                self.guided_logits(&params, &unprompted, earlier, temperature, guidance_scale)
            })
        };
        Tensor::cat(&(0..params.size()[0]).map(one).collect::<Vec<_>>(), 0)
    }

    /// Log-probability of each pixel's levels, `[n, h, w]`, under the distribution that [`PixelHead::sample_guided`] draws from.
    pub fn log_prob_guided(
        &self,
        params: &Tensor,
        unprompted: &Tensor,
        levels: &Tensor,
        temperature: f64,
        guidance_scale: f64,
    ) -> Tensor {
        let of_channel = |channel| {
            let earlier = levels.narrow(1, 0, channel);
            self.guided_logits(params, unprompted, &earlier, temperature, guidance_scale)
                .log_softmax(1, None::<Kind>)
                .gather(1, &levels.narrow(1, channel, 1), false)
                .squeeze_dim(1)
        };
        (1..self.channels).map(of_channel).fold(of_channel(0), |sum, next| sum + next)
    }

    /// Logits of the next channel's levels, `[n, 256, h, w]`, given the levels of the earlier.
    fn guided_logits(
        &self,
        params: &Tensor,
        unprompted: &Tensor,
        earlier: &Tensor,
        temperature: f64,
        guidance_scale: f64,
    ) -> Tensor {
        let [with, without] =
            [params, unprompted].map(|params| self.level_logits(params, earlier, temperature));
        let guided = &without + (&with - &without) * guidance_scale;
        if guidance_scale <= 1.0 {
            return guided;
        }
        let top = with.argmax(1, true);
        let [likeliest, guided_likeliest] = [&with, &guided].map(|t| t.gather(1, &top, false));
        let unlikely = with.less_tensor(&(&likeliest + PLAUSIBLE.ln()));
        let most = &with - likeliest + guided_likeliest;
        guided.minimum(&most).where_self(&unlikely, &guided)
    }

    /// Draws one channel after the other: `logits` of the next one, `[n, 256, h, w]`, given the levels of the earlier.
    fn chain(&self, uniforms: &Tensor, logits: impl Fn(&Tensor) -> Tensor) -> Tensor {
        let [n, _, h, w] = uniforms.size()[..] else { panic!("uniforms are [n, u, h, w]") };
        let none = Tensor::zeros([n, 0, h, w], (Kind::Int64, uniforms.device()));
        (0..self.channels).fold(none, |earlier, channel| {
            let probs = logits(&earlier).softmax(1, None::<Kind>);
            let level = invert_cdf(&probs, &uniforms.narrow(1, channel, 1));
            Tensor::cat(&[earlier, level], 1)
        })
    }

    /// The mean in [-1, 1], `[n, c, h, w]` of the kind of `params`. For a softmax in colour, that of a later channel is
    /// the one given the earlier channels' means, rounded; for a mixture, that of its components' centres, each clamped
    /// to [-1, 1] as levels are.
    pub fn mean(&self, params: &Tensor) -> Tensor {
        let Form::Mixture { mixtures } = self.form else {
            let [n, _, h, w] = params.size()[..] else { panic!("params are [n, p, h, w]") };
            let none = Tensor::zeros([n, 0, h, w], (params.kind(), params.device()));
            return (0..self.channels).fold(none, |means, _| {
                let probs =
                    self.level_logits(params, &to_levels(&means), 1.0).softmax(1, None::<Kind>);
                let mean = (probs * level_grid(params)).sum_dim_intlist(1, true, None::<Kind>);
                Tensor::cat(&[means, mean], 1)
            });
        };
        let mixture = Mixture::split(params, mixtures, self.channels);
        let weights = mixture.logits.softmax(1, None::<Kind>).unsqueeze(2);
        let centres = mixture.unroll(|_, mean, _| mean.clamp(-1.0, 1.0)); // [n, k, c, h, w]
        (weights * centres).sum_dim_intlist(1, false, None::<Kind>)
    }

    /// Unnormalized log-probabilities `[n, 256, h, w]` of the next channel's levels, given those of the earlier channels,
    /// i64 `[n, earlier, h, w]`, at a temperature.
    fn level_logits(&self, params: &Tensor, earlier: &Tensor, temperature: f64) -> Tensor {
        let channel = earlier.size()[1];
        let mixtures = match &self.form {
            Form::Mixture { mixtures } => *mixtures,
            Form::Softmax { couplings } => {
                let own = params.narrow(1, channel * NUM_LEVELS, NUM_LEVELS);
                let own = own.permute([0, 2, 3, 1]);
                let logits = coupled(couplings.as_ref(), own, &earlier.unbind(1));
                let logits = logits.permute([0, 3, 1, 2]);
                return if temperature == 1.0 { logits } else { logits / temperature };
            }
        };
        let mixture = Mixture::split(params, mixtures, self.channels).tempered(temperature);
        let x = normalized(earlier, params.kind());
        let known = mixture.first_channels(channel);
        let bins = known.bin_log_probs(&known.means_given(&x), &x, earlier);
        let logits = mixture.logits.log_softmax(1, None::<Kind>)
            + bins.sum_dim_intlist(2, false, None::<Kind>);
        // The 256 levels take the place of the channel axis.
        let mean = mixture.mean_of(channel, &x.unsqueeze(1)).unsqueeze(2);
        let log_scale = mixture.log_scales.narrow(2, channel, 1);
        let levels = Tensor::arange(NUM_LEVELS, (Kind::Int64, params.device()));
        let levels = levels.view([1, NUM_LEVELS, 1, 1]);
        let bins = bin_log_probs(&mean, &log_scale, &normalized(&levels, params.kind()), &levels);
        (bins + logits.unsqueeze(2)).logsumexp(1, false)
    }
}

/// [`PixelHead::log_prob`] of a softmax. Sums over levels, and the tables' rows, run along contiguous memory, for in colour this
/// is among the dearest parts of a training step.
fn softmax_log_prob(couplings: Option<&Tensor>, params: &Tensor, levels: &Tensor) -> Tensor {
    let [n, c, h, w] = levels.size()[..] else { panic!("levels are [n, c, h, w]") };
    let logits = params.permute([0, 2, 3, 1]).reshape([-1, c * NUM_LEVELS]);
    // Even into one part, a split copies all gradients.
    let logits = if c == 1 { vec![logits] } else { logits.split(NUM_LEVELS, 1) };
    let levels = levels.permute([0, 2, 3, 1]).reshape([-1, c]).unbind(1);
    let of_channel = |(channel, own): (usize, &Tensor)| {
        let own = coupled(couplings, own.shallow_clone(), &levels[..channel]);
        cross_entropy(&own, &levels[channel]).expect("a level for every 256 logits")
    };
    let nats: Vec<Tensor> = logits.iter().enumerate().map(of_channel).collect();
    let sum = nats.into_iter().reduce(|sum, next| sum + next).expect("images have channels");
    -sum.view([n, h, w])
}

/// A channel's logits `[.., 256]` of its own, and what the levels of each earlier channel, i64 `[..]`, add to them.
fn coupled(couplings: Option<&Tensor>, own: Tensor, earlier: &[Tensor]) -> Tensor {
    let Some(couplings) = couplings else { return own };
    earlier.iter().zip(num_couplings(earlier.len() as i64)..).fold(own, |logits, (levels, pair)| {
        let table = couplings.get(pair);
        logits + Tensor::embedding(&table, levels, -1, false, false)
    })
}

/// Pairs of the first `channels` channels, of each of which the later depends on the earlier; also the place of the first
/// pair whose later channel is number `channels`.
fn num_couplings(channels: i64) -> i64 {
    channels * (channels - 1) / 2
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
