"""The diffusion model: a preconditioned U-Net (Karras et al. 2022), drawn from by SDE-DPM-Solver++ (Lu et al. 2022)."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from common import ConditionEmbedding, conv, depth_to_space, space_to_depth

BATCH_SIZE = 128
NUM_GROUPS = 8


class ResBlock(nn.Module):
    def __init__(self, inputs, outputs, embedding_dim):
        super().__init__()
        self.norm1 = nn.GroupNorm(NUM_GROUPS, inputs)
        self.conv1 = conv(inputs, outputs, 3)
        self.film = nn.Linear(embedding_dim, 2 * outputs)
        self.norm2 = nn.GroupNorm(NUM_GROUPS, outputs)
        self.conv2 = conv(outputs, outputs, 3)
        if inputs != outputs:
            self.shortcut = conv(inputs, outputs, 1)

    def forward(self, x, embedding):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, 1)
        h = self.conv2(F.silu(self.norm2(h) * (scale + 1) + shift))
        return h + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class SelfAttention(nn.Module):
    def __init__(self, channels, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.GroupNorm(NUM_GROUPS, channels)
        self.qkv = conv(channels, 3 * channels, 1)
        self.out = conv(channels, channels, 1)

    def forward(self, x):
        n, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)  # [n, hw, 3c]
        qkv = qkv.reshape(n, h * w, 3, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*qkv)
        return x + self.out(mixed.transpose(-1, -2).reshape(n, c, h, w))


class NoiseEmbedding(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.register_buffer("frequencies", 2 * torch.randn(dim // 2))
        self.linear1 = nn.Linear(dim, dim)
        self.linear2 = nn.Linear(dim, dim)

    def forward(self, c_noise):
        angles = c_noise[:, None] * self.frequencies * (2 * math.pi)
        return self.linear2(F.silu(self.linear1(torch.cat([angles.cos(), angles.sin()], 1))))


class Level(nn.Module):
    """Blocks, named by number, and the way to the next resolution."""

    def __init__(self, blocks, **resample):
        super().__init__()
        self.num_blocks = len(blocks)
        for name, module in [*enumerate(blocks), *resample.items()]:
            if module is not None:
                self.add_module(str(name), module)

    def blocks(self):
        return [getattr(self, str(i)) for i in range(self.num_blocks)]


class UNet(nn.Module):
    def __init__(self, config, channels):
        super().__init__()
        self.patch, dim, widths, num_blocks = config["patch"], config["embedding_dim"], config["widths"], config["num_blocks"]
        folded = channels * self.patch**2
        self.noise = NoiseEmbedding(dim)
        self.condition = ConditionEmbedding(dim)
        self.entrance = conv(folded, widths[0], 3)
        width, skips, down, up = widths[0], [widths[0]], [], []
        for i, outputs in enumerate(widths):
            blocks = [ResBlock(width if j == 0 else outputs, outputs, dim) for j in range(num_blocks)]
            width = outputs
            skips += [width] * num_blocks
            downsample = None
            if i + 1 < len(widths):
                downsample = conv(width, width, 3, stride=2)
                skips.append(width)
            down.append(Level(blocks, downsample=downsample))
        attention = SelfAttention(width, config["num_heads"]) if config["num_heads"] else None
        self.middle = Level([ResBlock(width, width, dim) for _ in range(2)], attention=attention)
        for i, outputs in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(num_blocks + 1):
                blocks.append(ResBlock(width + skips.pop(), outputs, dim))
                width = outputs
            up.insert(0, Level(blocks, upsample=conv(width, width, 3) if i else None))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.norm = nn.GroupNorm(NUM_GROUPS, width)
        self.exit = conv(width, folded, 3)

    def forward(self, x, c_noise, classes):
        embedding = F.silu(self.noise(c_noise) + self.condition(classes))
        h = self.entrance(space_to_depth(x, self.patch))
        skips = [h]
        for level in self.down:
            for block in level.blocks():
                h = block(h, embedding)
                skips.append(h)
            if hasattr(level, "downsample"):
                h = level.downsample(h)
                skips.append(h)
        before, after = self.middle.blocks()
        h = before(h, embedding)
        if hasattr(self.middle, "attention"):
            h = self.middle.attention(h)
        h = after(h, embedding)
        for level in reversed(self.up):
            for block in level.blocks():
                h = block(torch.cat([h, skips.pop()], 1), embedding)
            if hasattr(level, "upsample"):
                h = level.upsample(F.interpolate(h, scale_factor=2))
        return depth_to_space(self.exit(F.silu(self.norm(h))), self.patch)


class Model(nn.Module):
    COMPILED = ["error"]

    def __init__(self, config, data):
        super().__init__()
        self.net = UNet(config["network"], data.channels)
        self.data, self.shape = data, [data.channels, data.size, data.size]
        self.p_mean, self.p_std, self.sampler = config["p_mean"], config["p_std"], config["sampler"]

    def network(self, x, sigma, classes):
        """F of EDM and its c_skip and c_out; `sigma` f64 [n, 1, 1, 1], in which the coefficients are computed."""
        std = (sigma.square() + self.data.std**2).sqrt()
        f = self.net(x * (1 / std).float(), (sigma.log() / 4).float().flatten(), classes).float()
        return f, (self.data.std / std).square(), sigma * self.data.std / std

    def error(self, batch):
        x0 = batch.images - self.data.mean
        # Drawn on the host, as ours.
        sigma = (self.p_mean + self.p_std * torch.randn(len(x0), dtype=torch.float64)).exp()[:, None, None, None].to(x0.device)
        eps = torch.randn_like(x0)
        f, c_skip, c_out = self.network(x0 + eps * sigma.float(), sigma, batch.classes)
        target = x0 * ((1 - c_skip) / c_out).float() - eps * (c_skip * sigma / c_out).float()
        return (f - target).square().mean()

    def loss(self, phase, batch, step, progress):
        return self.error(batch)

    def sample(self, classes, noise):
        sigmas = karras(self.sampler["sigma_min"] or 0.01, self.sampler["sigma_max"] or 40, self.sampler["rho"], self.sampler["steps"] or 10)
        x = noise.normal(0, self.shape) * math.sqrt(1 + sigmas[0] ** 2)
        low, high = -1 - self.data.mean, 1 - self.data.mean
        before = None
        for i, (sigma, following) in enumerate(zip(sigmas, sigmas[1:])):
            f, c_skip, c_out = self.network(x, torch.full([len(x), 1, 1, 1], sigma, dtype=torch.float64, device=x.device), classes)
            denoised = (x * c_skip.float() + f * c_out.float()).clamp(low, high)
            if following == 0:
                return (denoised + self.data.mean).clamp(-1, 1)
            h = math.log(sigma / following)
            step = denoised
            if before is not None:
                step = denoised + (denoised - before[0]) * (h / (2 * math.log(before[1] / sigma)))
            share = (following / sigma) ** 2
            x = step + (x - step) * share + noise.normal(1 + i, self.shape) * (following * math.sqrt(1 - share))
            before = denoised, sigma


def karras(low, high, rho, steps):
    """Noise levels, 0 the last."""
    first, last = high ** (1 / rho), low ** (1 / rho)
    return [(first + i / (steps - 1) * (last - first)) ** rho for i in range(steps)] + [0]
