//! A mixture of discretized logistics over the channels of a pixel. Salimans et al. 2017, section 2.

use super::{normalized, num_couplings};
use paragone_core::{NUM_LEVELS, to_levels};
use std::ops::RangeInclusive;
use tch::{Kind, Tensor};

/// Range of a component's log-scale. The lower end is that of Salimans et al. 2017; at the upper one the bins are all
/// but empty against the tails, and the width of a bin is still far from underflow.
pub(super) const LOG_SCALE_RANGE: RangeInclusive<f64> = -7.0..=7.0;

/// A mixture of k logistics for the c channels of each pixel.
pub(super) struct Mixture {
    /// `[n, k, h, w]`.
    pub(super) logits: Tensor,
    /// Means before dependence on earlier channels, `[n, k, c, h, w]`.
    means: Tensor,
    /// `[n, k, c, h, w]`.
    pub(super) log_scales: Tensor,
    /// For channel 1 on 0, 2 on 0, 2 on 1, and so on: in (-1, 1), `[n, k, c (c - 1) / 2, h, w]`.
    couplings: Tensor,
}

impl Mixture {
    /// Reads the network's outputs, `[n, p, h, w]`.
    pub(super) fn split(params: &Tensor, k: i64, c: i64) -> Mixture {
        let [n, _, h, w] = params.size()[..] else { panic!("params are [n, p, h, w]") };
        let parts = params.split_with_sizes([k, k * c, k * c, k * num_couplings(c)], 1);
        let per_component = |t: &Tensor, size: i64| t.reshape([n, k, size, h, w]);
        Mixture {
            logits: parts[0].shallow_clone(),
            means: per_component(&parts[1], c),
            log_scales: per_component(&parts[2], c)
                .clamp(*LOG_SCALE_RANGE.start(), *LOG_SCALE_RANGE.end()),
            couplings: per_component(&parts[3], num_couplings(c)).tanh(),
        }
    }

    /// The mixture with its logits divided and its scales multiplied by a temperature.
    pub(super) fn tempered(self, temperature: f64) -> Mixture {
        if temperature == 1.0 {
            return self;
        }
        let (logits, log_scales) = (self.logits / temperature, self.log_scales + temperature.ln());
        Mixture { logits, log_scales, ..self }
    }

    fn channels(&self) -> i64 {
        self.means.size()[2]
    }

    /// The marginal distribution of the first channels.
    pub(super) fn first_channels(&self, c: i64) -> Mixture {
        Mixture {
            logits: self.logits.shallow_clone(),
            means: self.means.narrow(2, 0, c),
            log_scales: self.log_scales.narrow(2, 0, c),
            couplings: self.couplings.narrow(2, 0, num_couplings(c)),
        }
    }

    /// The component chosen for each pixel: `component` is i64 `[n, 1, h, w]`. Returns a mixture with k = 1.
    pub(super) fn only(&self, component: &Tensor) -> Mixture {
        let index = component.unsqueeze(2);
        let pick = |t: &Tensor| {
            let [n, _, size, h, w] = t.size()[..] else { unreachable!("split made five axes") };
            t.gather(1, &index.expand([n, 1, size, h, w], false), false)
        };
        Mixture {
            logits: self.logits.gather(1, component, false),
            means: pick(&self.means),
            log_scales: pick(&self.log_scales),
            couplings: pick(&self.couplings),
        }
    }

    /// Mean of one channel, `[n, k, h, w]`, given the earlier channels `x` in [-1, 1], `[n, k or 1, earlier, h, w]`.
    pub(super) fn mean_of(&self, channel: i64, x: &Tensor) -> Tensor {
        let mean = self.means.select(2, channel);
        if channel == 0 {
            return mean;
        }
        let couplings = self.couplings.narrow(2, num_couplings(channel), channel);
        let shift = couplings * x.narrow(2, 0, channel);
        mean + shift.sum_dim_intlist(2, false, None::<Kind>)
    }

    /// Means of all channels, `[n, k, c, h, w]`, given the pixel's own values `x` in [-1, 1], `[n, c, h, w]`.
    pub(super) fn means_given(&self, x: &Tensor) -> Tensor {
        if self.channels() <= 1 {
            return self.means.shallow_clone();
        }
        let x = x.unsqueeze(1);
        let means: Vec<Tensor> = (0..self.channels()).map(|c| self.mean_of(c, &x)).collect();
        Tensor::stack(&means, 2)
    }

    /// Log-probability of the levels, i64 `[n, c, h, w]`, jointly over channels: `[n, h, w]`.
    pub(super) fn log_prob(&self, levels: &Tensor) -> Tensor {
        let x = normalized(levels, self.logits.kind());
        let bins = self.bin_log_probs(&self.means_given(&x), &x, levels);
        let joint = bins.sum_dim_intlist(2, false, None::<Kind>);
        (self.logits.log_softmax(1, None::<Kind>) + joint).logsumexp(1, false)
    }

    /// Log-probability of each channel's bin under each component, `[n, k, c, h, w]`.
    pub(super) fn bin_log_probs(&self, means: &Tensor, x: &Tensor, levels: &Tensor) -> Tensor {
        bin_log_probs(means, &self.log_scales, x, levels)
    }

    /// One value in [-1, 1] a channel, `[n, k, c, h, w]`: `value(channel, mean given the earlier values, log_scale)`.
    pub(super) fn unroll(&self, value: impl Fn(i64, Tensor, Tensor) -> Tensor) -> Tensor {
        let mut values: Vec<Tensor> = Vec::new();
        for channel in 0..self.channels() {
            let earlier = match &values[..] {
                [] => self.means.narrow(2, 0, 0),
                values => Tensor::stack(values, 2),
            };
            let mean = self.mean_of(channel, &earlier);
            values.push(value(channel, mean, self.log_scales.select(2, channel)));
        }
        Tensor::stack(&values, 2)
    }

    /// Levels `[n, c, h, w]` drawn from a single component, k = 1, with uniforms `[n, c, h, w]`.
    pub(super) fn draw(&self, uniforms: &Tensor) -> Tensor {
        let values = self.unroll(|channel, mean, log_scale| {
            let u = uniforms.narrow(1, channel, 1);
            let x = mean + log_scale.exp() * (u.log() - (-u).log1p());
            normalized(&to_levels(&x), uniforms.kind())
        });
        to_levels(&values.squeeze_dim(1))
    }
}

/// Log-mass of a logistic in the bin of a level: from half a level below it to half a level above it, and all that lies
/// beyond for the levels 0 and 255. Salimans et al. 2017, equation 2.
///
/// `mean`, `log_scale`: `[n, k, c, h, w]`; `x` in [-1, 1] and its `levels`: `[n, c, h, w]`.
pub(super) fn bin_log_probs(
    mean: &Tensor,
    log_scale: &Tensor,
    x: &Tensor,
    levels: &Tensor,
) -> Tensor {
    let inv_scale = (-log_scale).exp();
    let centre = (x.unsqueeze(1) - mean) * &inv_scale;
    let half = inv_scale / 255.0;
    // With a and b the upper and lower edge, s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)): no cancellation anywhere.
    let levels = levels.unsqueeze(1);
    let (lowest, highest) = (levels.eq(0), levels.eq(NUM_LEVELS - 1));
    let below_upper = (&centre + &half).log_sigmoid().masked_fill(&highest, 0.0);
    let above_lower = (&half - &centre).log_sigmoid().masked_fill(&lowest, 0.0);
    let width = (-(half * -2.0).expm1()).log().masked_fill(&lowest.logical_or(&highest), 0.0);
    below_upper + above_lower + width
}
