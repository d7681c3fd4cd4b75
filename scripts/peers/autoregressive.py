"""The conditional gated PixelCNN (van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders", fig. 2 and
eq. 4): a vertical and a horizontal stack, gated activations, a softmax over the 256 values of a pixel.

Published code samples with a pass of the whole network for each pixel, 784 an image. Here every layer keeps what it has
computed, which draws the same images at the cost of about one pass; without it 10,000 samples would take a day."""

import torch
from torch import nn
from torch.nn import functional as F

SIZE, CLASSES = 28, 10
CHECKED = 20  # images whose logits are computed by the whole network too


def gate(x):
    a, b = x.chunk(2, 1)
    return a.tanh() * b.sigmoid()


class Layer(nn.Module):
    """The first layer sees only pixels before the present one (mask A), later ones see features at it as well (mask B).
    Kernels have the size of what the masks leave."""

    def __init__(self, channels, dim, kernel, first):
        super().__init__()
        self.first, self.reach, self.channels = first, kernel // 2, channels
        self.length = self.reach + (not first)  # rows above or columns to the left that a kernel covers
        self.vertical = nn.Conv2d(channels, 2 * dim, (self.length, kernel))
        self.horizontal = nn.Conv2d(channels, 2 * dim, (1, self.length))
        self.across = nn.Conv2d(2 * dim, 2 * dim, 1)
        self.out = nn.Conv2d(dim, dim, 1)
        self.classes = nn.Embedding(CLASSES, 4 * dim)

    def condition(self, labels):
        """What a class adds in each stack: two of [n, 2 dim, 1, 1]."""
        return self.classes(labels)[:, :, None, None].chunk(2, 1)

    def down(self, v, added):
        """v with its padding -> (the next v, what the horizontal stack gets of it)."""
        features = self.vertical(v) + added
        return gate(features), self.across(features)

    def right(self, h, v, added, skip):
        """h with its padding -> the next h. No skip connection around the first layer."""
        features = self.out(gate(self.horizontal(h) + v + added))
        return features if self.first else features + skip

    def forward(self, v, h, labels):
        to_v, to_h = self.condition(labels)
        # A row or column too many where the kernel does not cover the present one.
        padded = F.pad(v, (self.reach, self.reach, self.reach, 0))[:, :, : v.shape[2] + self.length - 1]
        v, across = self.down(padded, to_v)
        padded = F.pad(h, (self.reach, 0))[:, :, :, : h.shape[3] + self.length - 1]
        return v, self.right(padded, across, to_h, h)


class PixelCNN(nn.Module):
    def __init__(self, dim, layers):
        super().__init__()
        self.layers = nn.ModuleList([Layer(1, dim, 7, True)] + [Layer(dim, dim, 3, False) for _ in range(layers - 1)])
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(dim, dim, 1), nn.ReLU(), nn.Conv2d(dim, 256, 1))

    def forward(self, images, labels):
        """images: bytes as f32 [n, 1, 28, 28] -> logits [n, 256, 28, 28]"""
        v = h = images / 255
        for layer in self.layers:
            v, h = layer(v, h, labels)
        return self.head(h)

    def sample(self, labels):
        """-> (images as in forward, the logits that the first of them were drawn from)"""
        n = len(labels)
        images, kept = torch.zeros(n, 1, SIZE, SIZE), torch.zeros(min(n, CHECKED), 256, SIZE, SIZE)
        added = [layer.condition(labels) for layer in self.layers]
        # What goes into each layer, with its padding: all rows so far of v, the present row of h.
        vs = [torch.zeros(n, x.channels, SIZE + x.reach, SIZE + 2 * x.reach) for x in self.layers]
        for i in range(SIZE):
            across, hs = [], [torch.zeros(n, x.channels, 1, SIZE + x.reach) for x in self.layers]
            for k, layer in enumerate(self.layers):
                v, a = layer.down(vs[k][:, :, i : i + layer.length], added[k][0])
                across.append(a)
                if k + 1 < len(self.layers):
                    after = self.layers[k + 1].reach
                    vs[k + 1][:, :, after + i, after : after + SIZE] = v[:, :, 0]
            for j in range(SIZE):
                h = None
                for k, layer in enumerate(self.layers):
                    if k > 0:
                        hs[k][:, :, :, layer.reach + j] = h[:, :, :, 0]
                    window = hs[k][:, :, :, j : j + layer.length]
                    h = layer.right(window, across[k][:, :, :, j : j + 1], added[k][1], h)
                logits = self.head(h)[:, :, 0, 0]
                kept[:, :, i, j] = logits[:CHECKED]
                images[:, 0, i, j] = torch.multinomial(logits.softmax(1), 1)[:, 0].float()
                hs[0][:, 0, 0, self.layers[0].reach + j] = images[:, 0, i, j] / 255
            vs[0][:, 0, self.layers[0].reach + i, self.layers[0].reach : self.layers[0].reach + SIZE] = images[:, 0, i] / 255
        return images, kept


class Peer(nn.Module):
    system = "gated PixelCNN"
    packages = []
    conditional = True
    sample_batch = 500
    note = "rows kept when sampling"

    def __init__(self, dim=32, layers=10, lr=1e-3, batch=32):
        super().__init__()
        self.model = PixelCNN(dim, layers)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)
        self.batch, self.drawn = batch, 0

    def size(self):
        return sum(p.numel() for p in self.model.parameters())

    def step(self, images, labels):
        loss = F.cross_entropy(self.model(images, labels), images[:, 0].long())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item() / 0.6931472  # bits per dimension

    def sample(self, n):
        labels = torch.arange(self.drawn, self.drawn + n) % CLASSES
        images, logits = self.model.sample(labels)
        if self.drawn == 0:  # what was kept must be what the whole network computes
            torch.testing.assert_close(self.model(images[:CHECKED], labels[:CHECKED]), logits, rtol=1e-3, atol=1e-3)
        self.drawn += n
        return images
