"""What the four PyTorch implementations share: layers, noise, and the training step."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

NUM_CLASSES = 10
MASK64 = (1 << 64) - 1


class Data(NamedTuple):
    """What a model may know of the images."""

    channels: int
    size: int
    mean: float
    std: float


class Batch(NamedTuple):
    images: torch.Tensor  # f32 [n, c, h, w] in [-1, 1]
    classes: torch.Tensor  # i64 [n]

    def to(self, device):
        return Batch(self.images.to(device), self.classes.to(device))


def conv(inputs, outputs, kernel, **options):
    """A convolution that keeps height and width."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


class ConditionEmbedding(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.register_parameter("class", nn.Parameter(torch.randn(NUM_CLASSES + 1, dim)))

    def forward(self, classes):
        return nn.functional.embedding(classes, getattr(self, "class"))


def space_to_depth(x, factor):
    """Blocks of positions to channels, those of a position side by side."""
    n, c, h, w = x.shape
    blocks = x.view(n, c, h // factor, factor, w // factor, factor).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, factor**2 * c, h // factor, w // factor)


def depth_to_space(x, factor):
    """The inverse of space_to_depth."""
    n, c, h, w = x.shape
    blocks = x.view(n, factor, factor, c // factor**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // factor**2, h * factor, w * factor)


def to_levels(images):
    return ((images + 1) * 127.5).round().clamp(0, 255).long()


def from_levels(levels):
    return levels / 127.5 - 1


class Noise:
    """The noise of n images as PyTorch users draw it."""

    def __init__(self, n, device):
        self.n, self.device = n, device

    def normal(self, draw, shape):
        return torch.randn(self.n, *shape, device=self.device)

    def uniform(self, draw, shape):
        return torch.rand(self.n, *shape, device=self.device)


class SeededNoise:
    """The same numbers as our samplers get for the seeds 0 to n - 1: Philox 4x32-10 (Salmon et al. 2011) and Box-Muller."""

    def __init__(self, n, device):
        self.n, self.device = n, device

    def uniform(self, draw, shape):
        size = math.prod(shape)
        counter = np.zeros((4, self.n, -(-size // 4)), np.uint64)
        counter[0], counter[2] = np.arange(counter.shape[2]), draw
        key, low = [np.arange(self.n, dtype=np.uint64)[:, None], np.uint64(0)], np.uint64(0xFFFFFFFF)
        for _ in range(10):
            a, b = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
            high_a, high_b = a >> np.uint64(32), b >> np.uint64(32)
            counter = np.stack([high_b ^ counter[1] ^ key[0], b & low, high_a ^ counter[3] ^ key[1], a & low])
            key = [(key[0] + np.uint64(0x9E3779B9)) & low, (key[1] + np.uint64(0xBB67AE85)) & low]
        unit = ((counter >> np.uint64(9)).astype(np.float32) + np.float32(0.5)) / np.float32(8388608)
        unit = unit.transpose(1, 2, 0).reshape(self.n, -1)[:, :size]
        return torch.from_numpy(unit.copy()).to(self.device).reshape(self.n, *shape)

    def normal(self, draw, shape):
        size = math.prod(shape)
        u, v = self.uniform(draw, [-(-size // 4) * 2, 2]).unbind(-1)
        radius, angle = (-2 * u.log()).sqrt(), 2 * math.pi * v
        pairs = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        return pairs.flatten(1)[:, :size].reshape(self.n, *shape)


def mix(*parts):
    """A seed from several numbers, as ours: the finalizer of SplitMix64, folded."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        z = ((state ^ part) + 0x9E3779B97F4A7C15) & MASK64
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        state = z ^ (z >> 31)
    return state


class Trainer:
    """Training as PyTorch users write it. `phases` are what our side says of itself; all steps are at one point of the schedule."""

    def __init__(self, model, phases, *, precision, seed, ema_half_life, ema_rampup, progress):
        self.model, self.precision, self.seed, self.progress = model, precision, seed, progress
        self.ema_half_life, self.ema_rampup = ema_half_life, ema_rampup
        self.step_number = 0
        self.phases = []
        for phase in phases:
            named = [(name, p) for name, p in model.named_parameters() if name.split(".")[0] in phase["parameters"]]
            options = phase["optimizer"]
            optimizer = torch.optim.AdamW(
                [p for _, p in named],
                lr=learning_rate(options, progress),
                betas=tuple(options["betas"]),
                weight_decay=options["weight_decay"],
                fused=True,
            )
            self.phases.append((phase, dict(named), optimizer))
        self.parameters = list(model.parameters())
        self.ema = [p.detach().clone() for p in self.parameters]

    def phase_loss(self, phase, batch):
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.model.loss(phase["name"], batch, self.step_number, self.progress)

    def step(self, batch):
        for index, (phase, named, optimizer) in enumerate(self.phases):
            if self.step_number % phase["every"]:
                continue
            self.require_gradients(phase)
            optimizer.zero_grad()
            torch.manual_seed(mix(self.seed, 1, self.step_number, index, 0))
            loss = self.phase_loss(phase, batch)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(named.values(), phase["optimizer"]["clip"])
            skip_above = phase["optimizer"]["skip_above"]
            if skip_above is None or norm <= skip_above:
                optimizer.step()
        self.step_number += 1
        seen = self.step_number * len(batch.images)
        decay = 0.5 ** (len(batch.images) / min(self.ema_half_life, seen * self.ema_rampup))
        torch._foreach_lerp_(self.ema, [p.detach() for p in self.parameters], 1 - decay)

    def require_gradients(self, phase):
        """Of this phase's parameters only."""
        if len(self.phases) > 1:
            for other, named, _ in self.phases:
                for parameter in named.values():
                    parameter.requires_grad_(other is phase)


def f32_if(needed, device):
    """Autocast off, if it is on and f32 is needed."""
    kind = device.type
    return torch.autocast(kind, enabled=torch.is_autocast_enabled(kind) and not needed)


def learning_rate(options, progress):
    """Past the warm-up."""
    t = (progress - options["warmup"]) / (1 - options["warmup"])
    remaining = {"constant": 1, "linear": 1 - t, "cosine": (1 + math.cos(math.pi * t)) / 2}[options["schedule"]]
    return options["lr"] * (options["final_lr"] + (1 - options["final_lr"]) * remaining)
