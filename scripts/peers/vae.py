"""The package pythae: its VAE with its residual networks for MNIST, 16 latents, and the batch and learning rate of its own
MNIST scripts. The loop below is that of its BaseTrainer, which counts epochs and knows no seconds."""

import torch
from pythae.models import VAE, VAEConfig
from pythae.models.nn.benchmarks.mnist import Decoder_ResNet_AE_MNIST, Encoder_ResNet_VAE_MNIST
from pythae.samplers import NormalSampler
from torch import nn


class Peer(nn.Module):
    system = "pythae VAE"
    packages = ["pythae"]
    conditional = False
    sample_batch = 500
    note = "draws from the prior, means decoded"

    def __init__(self, latents=16, lr=1e-3, batch=100):
        super().__init__()
        config = VAEConfig(input_dim=(1, 28, 28), latent_dim=latents)
        networks = {"encoder": Encoder_ResNet_VAE_MNIST(config), "decoder": Decoder_ResNet_AE_MNIST(config)}
        self.model = VAE(config, **networks)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)
        self.batch = batch

    def size(self):
        return sum(p.numel() for p in self.model.parameters())

    def step(self, images, _):
        loss = self.model({"data": images / 255}).loss
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def sample(self, n):
        return NormalSampler(self.model).sample(num_samples=n, batch_size=n) * 255
