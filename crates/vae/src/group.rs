use crate::{
    gaussian::Gaussian,
    layers::{Bottleneck, Conv, ResBlock},
};
use paragone_nn::channels_last;
use tch::{Tensor, nn::Path};

/// One set of latent variables with its prior, its posterior and what follows from it: Child 2021, figure 3.
#[derive(Debug)]
pub(crate) struct Group {
    /// Channels of the latents.
    pub(crate) latents: i64,
    /// From the features above: the prior, and a residual that does not wait for the latents.
    prior: Bottleneck,
    /// From the features above and the encoder's: the posterior.
    posterior: Bottleneck,
    embed: Conv,
    blocks: Vec<ResBlock>,
}

impl Group {
    /// `kernel` and `gain` as for [`ResBlock::new`]; `blocks` come after the latents.
    pub(crate) fn new(
        path: &Path,
        latents: i64,
        channels: i64,
        kernel: i64,
        gain: f64,
        blocks: Vec<ResBlock>,
    ) -> Self {
        let inner = (channels / 2).max(1);
        let prior = (channels, inner, 2 * latents + channels);
        let posterior = (2 * channels, inner, 2 * latents);
        Self {
            latents,
            prior: Bottleneck::new(path / "prior", prior, kernel, gain),
            posterior: Bottleneck::new(path / "posterior", posterior, kernel, gain),
            embed: Conv::new(path / "embed", latents, channels, 1),
            blocks,
        }
    }

    /// Features `[n, channels, h, w]` to the same, by way of the latents that `choose(prior, posterior)` names. There is a
    /// posterior if there are features of the encoder.
    pub(crate) fn forward(
        &self,
        h: &Tensor,
        features: Option<&Tensor>,
        choose: impl FnOnce(Gaussian, Option<Gaussian>) -> Tensor,
    ) -> Tensor {
        let parts = [2 * self.latents, h.size()[1]];
        let parts = self.prior.forward(h).split_with_sizes(parts, 1);
        let (prior, residual) = (Gaussian::from_layer(&parts[0]), &parts[1]);
        let posterior = features.map(|features| {
            let both = Tensor::cat(&[h, features], 1);
            Gaussian::from_layer(&self.posterior.forward(&both))
        });
        let z = choose(prior, posterior);
        let h = h + residual + channels_last(&z).apply(&self.embed);
        self.blocks.iter().fold(h, |h, block| block.forward(&h))
    }
}
