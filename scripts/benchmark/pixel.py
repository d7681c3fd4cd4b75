"""Distributions of 8-bit pixels: a softmax over 256 levels for gray, a mixture of discretized logistics for colour."""

import torch
from torch.nn import functional as F

from common import to_levels

MIXTURES = 10


class PixelHead:
    def __init__(self, channels):
        self.channels = channels
        self.is_mixture = channels > 1
        self.couplings = channels * (channels - 1) // 2
        self.num_parameters = MIXTURES * (1 + 2 * channels + self.couplings) if self.is_mixture else 256
        self.num_uniforms = 1 + channels if self.is_mixture else 1

    def split(self, params):
        n, _, h, w = params.shape
        k, c = MIXTURES, self.channels
        logits, means, log_scales, couplings = params.split([k, k * c, k * c, k * self.couplings], 1)
        means, log_scales = means.reshape(n, k, c, h, w), log_scales.reshape(n, k, c, h, w).clamp(-7, 7)
        return logits, means, log_scales, couplings.reshape(n, k, self.couplings, h, w).tanh()

    @staticmethod
    def mean_of(channel, means, couplings, x):
        """Mean of a channel given the earlier ones, `x` [n, k or 1, earlier, h, w]."""
        mean = means[:, :, channel]
        if channel == 0:
            return mean
        first = channel * (channel - 1) // 2
        return mean + (couplings[:, :, first : first + channel] * x[:, :, :channel]).sum(2)

    def log_prob(self, params, levels):
        """Nats of each pixel, [n, h, w]; `params` f32."""
        if not self.is_mixture:
            return -F.cross_entropy(params, levels[:, 0], reduction="none")
        logits, means, log_scales, couplings = self.split(params)
        x = (levels / 127.5 - 1).unsqueeze(1)
        means = torch.stack([self.mean_of(c, means, couplings, x) for c in range(self.channels)], 2)
        inv_scale = torch.exp(-log_scales)
        centre, half = (x - means) * inv_scale, inv_scale / 255
        levels = levels.unsqueeze(1)
        lowest, highest = levels == 0, levels == 255
        below_upper = F.logsigmoid(centre + half).masked_fill(highest, 0)
        above_lower = F.logsigmoid(half - centre).masked_fill(lowest, 0)
        width = (-torch.expm1(-2 * half)).log().masked_fill(lowest | highest, 0)
        bins = (below_upper + above_lower + width).sum(2)
        return (F.log_softmax(logits, 1) + bins).logsumexp(1)

    def sample(self, params, uniforms):
        """Levels [n, c, h, w] from uniforms [n, num_uniforms, h, w]."""
        if not self.is_mixture:
            return invert_cdf(params.softmax(1), uniforms)
        logits, means, log_scales, couplings = self.split(params)
        component = invert_cdf(logits.softmax(1), uniforms[:, :1]).unsqueeze(2)

        def pick(t):
            return t.gather(1, component.expand(-1, 1, t.shape[2], -1, -1))

        means, log_scales, couplings = pick(means), pick(log_scales), pick(couplings)
        values = means[:, :, :0]
        for channel in range(self.channels):
            u = uniforms[:, 1 + channel : 2 + channel]
            x = self.mean_of(channel, means, couplings, values) + log_scales[:, :, channel].exp() * (u.log() - torch.log1p(-u))
            values = torch.cat([values, (to_levels(x) / 127.5 - 1).unsqueeze(2)], 2)
        return to_levels(values.squeeze(1))


def invert_cdf(probs, uniforms):
    cdf = probs.cumsum(1)
    return (cdf < uniforms * cdf[:, -1:]).sum(1, keepdim=True)
