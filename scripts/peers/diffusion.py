"""The package denoising-diffusion-pytorch, as its README and Trainer use it: U-Net, v-prediction, sigmoid schedule, 1,000
steps, EMA. Unlike its Trainer, this mirrors no images: mirrored shoes are no images of the data."""

import contextlib
import io

import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Unet
from ema_pytorch import EMA
from torch import nn


class Peer(nn.Module):
    system = "denoising-diffusion-pytorch"
    packages = ["denoising-diffusion-pytorch"]
    conditional = False
    sample_batch = 250

    def __init__(self, dim=32, lr=8e-5, batch=32, accumulate=2, steps=25):
        super().__init__()
        # Two halvings, not three: 28 = 4 · 7. Everything not named here is the package's default.
        unet = Unet(dim=dim, dim_mults=(1, 2, 4), channels=1)
        self.model = GaussianDiffusion(unet, image_size=28, timesteps=1000, sampling_timesteps=steps)
        self.ema = EMA(self.model, beta=0.995, update_every=10, include_online_model=False)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr, betas=(0.9, 0.99))
        self.batch, self.accumulate = batch * accumulate, accumulate
        self.note = f"DDIM, {steps} steps"

    def size(self):
        return sum(p.numel() for p in self.model.parameters())

    def step(self, images, _):
        for part in (images / 255).chunk(self.accumulate):
            loss = self.model(part) / self.accumulate
            loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update()
        return loss.item() * self.accumulate

    def sample(self, n):
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar for each batch
            return self.ema.ema_model.sample(batch_size=n) * 255
