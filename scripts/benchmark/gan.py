"""The GAN: a relativistic pairing loss with R1 and R2 on networks without normalization (Huang et al. 2024)."""

import torch
from torch import nn
from torch.nn import functional as F

from common import ConditionEmbedding, conv, depth_to_space, space_to_depth

BATCH_SIZE = 32


def leaky_relu(x):
    return F.leaky_relu(x, 0.2)


class ResBlock(nn.Module):
    """`style_dim` 0: neither modulation nor noise."""

    def __init__(self, width, style_dim=0):
        super().__init__()
        self.first = conv(width, width, 3)
        self.last = conv(width, width, 3)
        if style_dim:
            self.style = nn.Linear(style_dim, 2 * width)
            self.noise = nn.Parameter(torch.full([1, width, 1, 1], 0.1))

    def forward(self, x, style=None, noise=None):
        h = self.first(leaky_relu(x))
        if style is not None:
            scale, shift = self.style(style)[:, :, None, None].chunk(2, 1)
            h = shift + (scale + 1) * h
            h = h + noise.to(h.dtype) * self.noise.to(h.dtype)
        return x + self.last(leaky_relu(h))


class Resolution(nn.Module):
    """Blocks, named by number, and the way to or from the next resolution."""

    def __init__(self, blocks, **between):
        super().__init__()
        self.num_blocks = len(blocks)
        for name, module in [*enumerate(blocks), *between.items()]:
            self.add_module(str(name), module)

    def blocks(self):
        return [getattr(self, str(i)) for i in range(self.num_blocks)]


class Generator(nn.Module):
    def __init__(self, config, latent_dim, data):
        super().__init__()
        widths, blocks, style_dim = config["widths"], config["blocks"], config["style_dim"]
        self.latent_dim, self.patch = latent_dim, config["patch"]
        size = data.size // (self.patch << (len(widths) - 1))
        self.base_shape = [widths[0], size, size]
        self.noise_sizes = [size << i for i, number in enumerate(blocks) for _ in range(number)]
        self.condition = ConditionEmbedding(latent_dim)
        self.mapping = nn.ModuleList([nn.Linear(2 * latent_dim, style_dim), nn.Linear(style_dim, style_dim)])
        self.base = nn.Linear(2 * latent_dim, widths[0] * size * size)
        resolutions = []
        for i, width in enumerate(widths):
            up = {"up": conv(width, 4 * widths[i + 1], 1)} if i + 1 < len(widths) else {}
            resolutions.append(Resolution([ResBlock(width, style_dim) for _ in range(blocks[i])], **up))
        self.resolutions = nn.ModuleList(resolutions)
        self.image = conv(widths[-1], data.channels * self.patch**2, 3)

    def forward(self, z, maps, classes):
        inputs = torch.cat([z, self.condition(classes)], 1)
        style = leaky_relu(self.mapping[1](leaky_relu(self.mapping[0](inputs))))
        x = self.base(inputs).view(-1, *self.base_shape)
        maps = iter(maps)
        for resolution in self.resolutions:
            for block in resolution.blocks():
                x = block(x, style, next(maps))
            if hasattr(resolution, "up"):
                x = depth_to_space(resolution.up(x), 2)
        return depth_to_space(self.image(leaky_relu(x)), self.patch).float()


class Discriminator(nn.Module):
    def __init__(self, config, data):
        super().__init__()
        widths, blocks, features = config["widths"], config["blocks"], config["features"]
        self.patch = config["patch"]
        size = data.size // (self.patch << (len(widths) - 1))
        self.image = conv(data.channels * self.patch**2, widths[-1], 3)
        resolutions = []  # coarse to fine, as in the generator
        for i, width in enumerate(widths):
            down = {"down": conv(4 * widths[i + 1], width, 1)} if i + 1 < len(widths) else {}
            resolutions.append(Resolution([ResBlock(width) for _ in range(blocks[i])], **down))
        self.resolutions = nn.ModuleList(resolutions)
        self.hidden = nn.Linear(widths[0] * size * size, features)
        self.features = nn.Linear(features, features)
        self.condition = ConditionEmbedding(features)
        self.register_buffer("augment_strength", torch.zeros(()))

    def forward(self, images, condition):
        x = self.image(space_to_depth(images, self.patch))
        for resolution in reversed(self.resolutions):
            if hasattr(resolution, "down"):
                x = resolution.down(space_to_depth(x, 2))
            for block in resolution.blocks():
                x = block(x)
        features = self.features(leaky_relu(self.hidden(leaky_relu(x).flatten(1)))).float()
        return (features * condition).sum(1) / features.shape[1] ** 0.5


class Model(nn.Module):
    # Not the penalty: compiled code cannot be differentiated twice.
    COMPILED = ["generator_loss", "discriminator_loss"]

    def __init__(self, config, data):
        super().__init__()
        self.generator = Generator(config["generator"], config["latent_dim"], data)
        self.discriminator = Discriminator(config["discriminator"], data)
        self.gamma, self.final_gamma, self.penalty_every = config["gamma"], config["final_gamma"], config["penalty_every"]

    def loss(self, phase, batch, step, progress):
        if phase == "generator":
            return self.generator_loss(batch)
        if step % self.penalty_every:
            return self.discriminator_loss(batch)
        return self.penalized_loss(batch, self.gamma * self.final_gamma**progress / 2 * self.penalty_every)

    def fake(self, batch):
        n, device = len(batch.images), batch.images.device
        z = torch.randn(n, self.generator.latent_dim, device=device)
        maps = [torch.randn(n, 1, size, size, device=device) for size in self.generator.noise_sizes]
        return self.generator(z, maps, batch.classes)

    def generator_loss(self, batch):
        fake = self.fake(batch)
        with torch.no_grad():
            condition = self.discriminator.condition(batch.classes)
            real = self.discriminator(batch.images, condition)
        return F.softplus(real - self.discriminator(fake, condition)).mean()

    def discriminator_loss(self, batch):
        with torch.no_grad():
            fake = self.fake(batch)
        condition = self.discriminator.condition(batch.classes).repeat(2, 1)
        real, fake = self.discriminator(torch.cat([batch.images, fake]), condition).chunk(2)
        return F.softplus(fake - real).mean()

    def penalized_loss(self, batch, weight):
        with torch.no_grad():
            fake = self.fake(batch)
        images = torch.cat([batch.images, fake]).requires_grad_()
        logits = self.discriminator(images, self.discriminator.condition(batch.classes).repeat(2, 1))
        (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        r1, r2 = gradients.square().flatten(1).sum(1).chunk(2)
        real, fake = logits.chunk(2)
        return F.softplus(fake - real).mean() + weight * (r1.mean() + r2.mean())

    def sample(self, classes, noise):
        z = noise.normal(0, [self.generator.latent_dim])
        maps = [noise.normal(1 + i, [1, size, size]) for i, size in enumerate(self.generator.noise_sizes)]
        return self.generator(z, maps, classes).clamp(-1, 1)
