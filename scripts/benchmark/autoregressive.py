"""The autoregressive model: a gated PixelCNN of two stacks (van den Oord et al. 2016)."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from common import ConditionEmbedding, conv, f32_if, from_levels, to_levels
from pixel import PixelHead

BATCH_SIZE = 16


class GatedLayer(nn.Module):
    def __init__(self, c, rows, columns, dilation, last):
        super().__init__()
        self.above, self.left = (rows - 1) * dilation, columns // 2
        beside = (0, columns // 2 * dilation)
        self.vertical = nn.Conv2d(c, 2 * c, (rows, columns), padding=beside, dilation=dilation)
        self.across = conv(2 * c, 2 * c, 1)
        self.horizontal = nn.Conv2d(c, 2 * c, (1, self.left + 1), bias=False)
        self.vertical_out = None if last else conv(c, c, 1, bias=False)
        self.horizontal_out = conv(c, c, 1, bias=False)

    def forward(self, v, h, v_bias, h_bias):
        v_gates = self.vertical(F.pad(v, (0, 0, self.above, 0))) + v_bias
        h_gates = self.horizontal(F.pad(h, (self.left, 0))) + self.across(v_gates) + h_bias
        h = h + self.horizontal_out(F.glu(h_gates, 1))
        if self.vertical_out is not None:
            v = v + self.vertical_out(F.glu(v_gates, 1))
        return v, h


class Net(nn.Module):
    def __init__(self, config, data):
        super().__init__()
        c, self.num_frequencies = config["num_channels"], config["num_frequencies"]
        self.reach = config["first_kernel"] // 2
        self.pixel = PixelHead(data.channels)
        inputs = data.channels * (1 + 2 * self.num_frequencies) + 1
        self.first_vertical = nn.Conv2d(inputs, c, (self.reach, config["first_kernel"]), padding=(0, self.reach))
        self.first_horizontal = nn.Conv2d(inputs, c, (1, self.reach), bias=False)
        self.first_across = conv(c, c, 1)
        self.position = nn.Parameter(torch.zeros(2, c, data.size, data.size))
        num_layers, dilations = config["num_layers"], config["dilations"]
        kernel = config["kernel_rows"], config["kernel_columns"]
        self.layers = nn.ModuleList(
            GatedLayer(c, *kernel, dilations[i % len(dilations)], i + 1 == num_layers) for i in range(num_layers)
        )
        self.head_in = conv(c, config["head_channels"], 1)
        self.head_out = conv(config["head_channels"], self.pixel.num_parameters, 1)
        self.condition = ConditionEmbedding(c)
        self.gates = nn.Linear(c, num_layers * 4 * c)

    def forward(self, images, classes):
        """Parameters of every pixel's distribution, f32."""
        features = [images]
        for k in range(self.num_frequencies):
            angle = images * (math.pi * 2**k)
            features += [angle.sin(), angle.cos()]
        x = torch.cat([*features, torch.ones_like(images[:, :1])], 1)
        v = self.first_vertical(F.pad(x[:, :, :-1], (0, 0, self.reach, 0)))
        position = self.position.to(v.dtype)
        v = v + position[0]
        h = self.first_horizontal(F.pad(x[:, :, :, :-1], (self.reach, 0))) + self.first_across(v) + position[1]
        biases = self.gates(self.condition(classes))[:, :, None, None].chunk(2 * len(self.layers), 1)
        for i, layer in enumerate(self.layers):
            v, h = layer(v, h, biases[2 * i], biases[2 * i + 1])
        h = F.relu(self.head_in(F.relu(h)))
        # The means of narrow logistics need more than bf16.
        with f32_if(self.pixel.is_mixture, h.device):
            return self.head_out(h.float() if self.pixel.is_mixture else h).float()


class Model(nn.Module):
    COMPILED = ["mean_nats"]

    def __init__(self, config, data):
        super().__init__()
        self.net = Net(config, data)
        self.shape = [data.channels, data.size, data.size]

    def mean_nats(self, batch):
        params = self.net(batch.images, batch.classes)
        return -self.net.pixel.log_prob(params, to_levels(batch.images)).mean() / self.shape[0]

    def loss(self, phase, batch, step, progress):
        return self.mean_nats(batch)

    def sample(self, classes, noise, pixels=None):
        """The whole network for every pixel; the first `pixels` pixels only if given."""
        images = torch.zeros(len(classes), *self.shape, device=classes.device)
        for place in range(self.shape[1] * self.shape[2])[:pixels]:
            i, j = divmod(place, self.shape[2])
            params = self.net(images, classes)[:, :, i : i + 1, j : j + 1]
            uniforms = noise.uniform(place, [self.net.pixel.num_uniforms])[:, :, None, None]
            images[:, :, i, j] = from_levels(self.net.pixel.sample(params, uniforms))[:, :, 0, 0]
        return images

    def redraw(self, images, classes, noise):
        """Every pixel drawn given those of `images` before it: `images` again, if they were drawn with this noise."""
        places = range(self.shape[1] * self.shape[2])
        uniforms = torch.stack([noise.uniform(place, [self.net.pixel.num_uniforms]) for place in places], 2)
        params = self.net(images, classes)
        return from_levels(self.net.pixel.sample(params, uniforms.unflatten(2, self.shape[1:])))
