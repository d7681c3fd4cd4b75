"""The DCGAN of PyTorch's tutorial (Radford et al. 2015): its layers, initialisation, loss, optimisers and batch, for images
of 32 pixels in place of 64, so without the widest layer of each network. Images of 28 pixels get a black border."""

import torch
from torch import nn
from torch.nn import functional as F

LATENTS = 100


def initialise(module):
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def generator(width):
    channels, layers = [4 * width, 2 * width, width], []
    for i, (n, m) in enumerate(zip([LATENTS] + channels, channels)):
        stride, padding = (1, 0) if i == 0 else (2, 1)  # 1 -> 4 -> 8 -> 16 pixels
        layers += [nn.ConvTranspose2d(n, m, 4, stride, padding, bias=False), nn.BatchNorm2d(m), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False), nn.Tanh()).apply(initialise)


def discriminator(width):
    layers = [nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    for n, m in ((width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(n, m, 4, 2, 1, bias=False), nn.BatchNorm2d(m), nn.LeakyReLU(0.2, True)]
    # Logits: binary_cross_entropy_with_logits is the tutorial's sigmoid and BCELoss in one.
    return nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 4, 1, 0, bias=False), nn.Flatten(0)).apply(initialise)


def cross_entropy(logits, real):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))


class Peer(nn.Module):
    system = "DCGAN of PyTorch's tutorial"
    packages = []
    conditional = False
    sample_batch = 500
    note = "batch statistics when sampling, as there"

    def __init__(self, width=64, lr=2e-4, batch=128):
        super().__init__()
        self.g, self.d = generator(width), discriminator(width)
        self.g_optimizer, self.d_optimizer = (torch.optim.Adam(x.parameters(), lr=lr, betas=(0.5, 0.999)) for x in (self.g, self.d))
        self.batch = batch

    def size(self):
        return sum(p.numel() for p in self.parameters())

    def step(self, images, _):
        real = F.pad(images / 127.5 - 1, (2, 2, 2, 2), value=-1.0)
        fake = self.g(torch.randn(len(images), LATENTS, 1, 1))

        self.d.zero_grad()
        d_loss = cross_entropy(self.d(real), 1.0) + cross_entropy(self.d(fake.detach()), 0.0)
        d_loss.backward()
        self.d_optimizer.step()

        self.g.zero_grad()
        g_loss = cross_entropy(self.d(fake), 1.0)
        g_loss.backward()
        self.g_optimizer.step()
        return g_loss.item()

    def sample(self, n):
        # The tutorial never calls eval(): its batch normalisation sees the batch that is drawn.
        images = self.g.train()(torch.randn(n, LATENTS, 1, 1))
        return (images[:, :, 2:-2, 2:-2] + 1) * 127.5
