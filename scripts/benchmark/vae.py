"""The VAE: a ladder of stochastic groups (Child 2021) between an encoder and a decoder."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from common import ConditionEmbedding, conv, depth_to_space, f32_if, from_levels, space_to_depth, to_levels
from pixel import PixelHead

BATCH_SIZE = 64
HEAD_WIDTH = 64
MAX_LOG_STD = 5.0


class ResBlock(nn.Module):
    def __init__(self, channels, kernel):
        super().__init__()
        self.conv1 = conv(channels, channels, kernel)
        self.conv2 = conv(channels, channels, kernel)

    def forward(self, x):
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class Bottleneck(nn.Module):
    def __init__(self, inputs, inner, outputs, kernel):
        super().__init__()
        self.reduce = conv(inputs, inner, 1)
        self.mix = conv(inner, inner, kernel)
        self.expand = conv(inner, outputs, 1)

    def forward(self, x):
        return self.expand(F.silu(self.mix(F.silu(self.reduce(F.silu(x))))))


def gaussian(output):
    """Mean and log standard deviation, f32, from a layer's output."""
    mean, log_std = output.float().chunk(2, 1)
    return mean, (log_std / MAX_LOG_STD).tanh() * MAX_LOG_STD


def kl(q, p):
    """KL(q ‖ p) in nats, [n]."""
    log_ratio = q[1] - p[1]
    square = (2 * log_ratio).exp() + ((q[0] - p[0]) * (-p[1]).exp()).square()
    return ((square - 1) / 2 - log_ratio).flatten(1).sum(1)


class Group(nn.Module):
    def __init__(self, latents, channels, kernel, num_blocks):
        super().__init__()
        self.latents = latents
        self.prior = Bottleneck(channels, channels // 2, 2 * latents + channels, kernel)
        self.posterior = Bottleneck(2 * channels, channels // 2, 2 * latents, kernel)
        self.embed = conv(latents, channels, 1)
        self.blocks = nn.ModuleList(ResBlock(channels, kernel) for _ in range(num_blocks))

    def forward(self, h, features, choose):
        out = self.prior(h)
        prior = gaussian(out[:, : 2 * self.latents])
        posterior = None if features is None else gaussian(self.posterior(torch.cat([h, features], 1)))
        h = h + out[:, 2 * self.latents :] + self.embed(choose(prior, posterior))
        for block in self.blocks:
            h = block(h)
        return h


class Level(nn.Module):
    """One resolution; `above`: (channels, size) of the coarser one."""

    def __init__(self, config, channels, size, groups, above):
        super().__init__()
        kernel = 1 if size == 1 else 3
        self.encoder = nn.ModuleList(ResBlock(channels, kernel) for _ in range(config["blocks"]))
        self.condition = nn.Linear(config["condition_dim"], channels)
        self.groups = nn.ModuleList(Group(latents, channels, kernel, config["blocks"]) for latents in groups)
        if above:
            self.factor = size // above[1]
            self.up = conv(channels * self.factor**2, above[0], 1)
            self.down = conv(above[0], channels * self.factor**2, 1)


class Net(nn.Module):
    def __init__(self, config, data):
        super().__init__()
        self.data, self.patch = data, config["patch_size"]
        self.pixel = PixelHead(data.channels)
        widths = config["widths"]
        latents = config["latents"] or ([[32], [16, 16], [8, 8]] + [[4]] * len(widths))[: len(widths) + 1]
        sizes = [1] + [data.size // self.patch >> i for i in reversed(range(len(widths)))]
        channels = [config["vector_width"]] + widths[::-1]
        above = [None] + list(zip(channels, sizes))
        self.levels = nn.ModuleList(map(Level, [config] * len(sizes), channels, sizes, latents, above))
        self.start = nn.Parameter(torch.zeros(1, channels[0], 1, 1))
        self.stem = conv(data.channels * self.patch**2, widths[0], 3)
        self.head = nn.ModuleDict(
            {"expand": conv(widths[0], HEAD_WIDTH * self.patch**2, 1), "out": conv(HEAD_WIDTH, self.pixel.num_parameters, 1)}
        )
        self.condition = ConditionEmbedding(config["condition_dim"])
        self.register_buffer("rate", torch.zeros(()))

    def encode(self, images):
        h = self.stem(space_to_depth((images - self.data.mean) / self.data.std, self.patch))
        features = []
        for level in reversed(self.levels):
            for block in level.encoder:
                h = block(h)
            features.insert(0, h)
            if hasattr(level, "up"):
                h = level.up(space_to_depth(h, level.factor))
        return features

    def decode(self, classes, features, choose):
        """Parameters of the pixels' distributions, f32; `choose(prior, posterior)` names the latents of a group."""
        condition = self.condition(classes)
        h = self.start.expand(len(classes), -1, -1, -1)
        for i, level in enumerate(self.levels):
            if hasattr(level, "down"):
                h = depth_to_space(level.down(h), level.factor)
            h = h + level.condition(condition)[:, :, None, None]
            for group in level.groups:
                h = group(h, features and features[i], choose)
        h = F.silu(depth_to_space(self.head["expand"](F.silu(h)), self.patch))
        # The means of narrow logistics need more than bf16.
        with f32_if(self.pixel.is_mixture, h.device):
            return self.head["out"](h.float() if self.pixel.is_mixture else h).float()


class Model(nn.Module):
    COMPILED = ["bound"]

    def __init__(self, config, data):
        super().__init__()
        self.net = Net(config, data)
        self.beta, self.kl_warmup, self.free = config["beta"], config["kl_warmup"], config["free_bits"] * math.log(2)

    def bound(self, batch):
        """Nats an image: of the pixels given the latents, [n], and the KL divergence of each group, [groups, n]."""
        features = self.net.encode(batch.images)
        divergences = []

        def draw(prior, posterior):
            divergences.append(kl(posterior, prior))
            return posterior[0] + posterior[1].exp() * torch.randn_like(posterior[0])

        params = self.net.decode(batch.classes, features, draw)
        nats = -self.net.pixel.log_prob(params, to_levels(batch.images)).flatten(1).sum(1)
        return nats, torch.stack(divergences)

    def loss(self, phase, batch, step, progress):
        nats, divergence = self.bound(batch)
        paid = divergence.clamp_min(self.free).sum(0)
        weight = self.beta * min(progress / self.kl_warmup, 1)
        rate = divergence.detach().sum(0).mean() / math.log(2)
        self.net.rate.lerp_(rate, max(0.01, 1 / (step + 1)))
        return (nats.mean() + weight * paid.mean()) / (batch.images[0].numel() * math.log(2))

    def sample(self, classes, noise):
        groups = iter(range(99))

        def draw(prior, _):
            return prior[0] + prior[1].exp() * noise.normal(next(groups), prior[0].shape[1:])

        params = self.net.decode(classes, None, draw)
        uniforms = noise.uniform(next(groups), [self.net.pixel.num_uniforms, *params.shape[2:]])
        return from_levels(self.net.pixel.sample(params, uniforms))
