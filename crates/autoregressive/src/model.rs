use crate::{AutoregressiveConfig, network::Network, sampler};
use paragone_core::{
    Batch, DataSpec, Edit, Error, Fact, Generator, Inpaint, Likelihood, LikelihoodKind,
    LikelihoodMethod, Loss, Noise, Offer, OnStep, OptimizerConfig, Phase, Progress, Result,
    SampleRequest, StepContext, to_levels,
};
use tch::{Kind, Tensor, nn::Path};

/// A gated PixelCNN as a [`Generator`].
#[derive(Debug)]
pub(crate) struct PixelCnn {
    pub(crate) network: Network,
    pub(crate) data: DataSpec,
}

impl PixelCnn {
    pub(crate) fn new(config: &AutoregressiveConfig, data: &DataSpec, vars: Path) -> Result<Self> {
        let network = Network::new(config, data, &(vars / "net"));
        Ok(Self { network, data: data.clone() })
    }

    /// Log-probability of each pixel of the batch given those before it, in nats, `[n, h, w]`; nothing is left to be said of a known
    /// pixel.
    fn log_probs(&self, batch: &Batch, train: bool) -> Tensor {
        let params = self.network.forward(&batch.images, &batch.conditions, train);
        let log_probs = self.network.pixel.log_prob(&params, &to_levels(&batch.images));
        match &batch.conditions.known {
            None => log_probs,
            Some(known) => log_probs * (1.0 - known.mask.squeeze_dim(1)),
        }
    }
}

impl Generator for PixelCnn {
    fn phases(&self) -> Vec<Phase> {
        let optimizer = OptimizerConfig { lr: 5e-3, ..OptimizerConfig::default() };
        vec![Phase { name: "likelihood", parameters: &["net"], every: 1, optimizer }]
    }

    fn loss(&self, _phase: &Phase, batch: &Batch, _step: &StepContext) -> Result<Loss> {
        let log_prob = self.log_probs(batch, true).mean(Kind::Float);
        let total = -log_prob / self.data.shape.channels as f64;
        let bits_per_dim = total.detach() / std::f64::consts::LN_2;
        Ok(Loss::new(total).with_scalar("bits_per_dim", &bits_per_dim))
    }

    fn sample(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        sampler::sample(&self.network, &self.data, request, None, on_step)
    }

    fn facts(&self) -> Vec<Fact> {
        let layers = &self.network.layers;
        let above: i64 = layers.iter().map(|layer| layer.kernel.above()).sum();
        let left: i64 = layers.iter().map(|layer| layer.kernel.left() - 1).sum();
        let reach = self.network.first_reach;
        vec![
            Fact {
                name: "receptive_rows",
                value: (reach + above) as f64,
                meaning: "rows above a pixel that its distribution depends on",
            },
            Fact {
                name: "receptive_columns",
                value: (reach + left) as f64,
                meaning: "pixels left of a pixel, in its row, that its distribution depends on",
            },
        ]
    }

    fn likelihood(&self) -> Offer<'_, dyn Likelihood> {
        Ok(self)
    }

    fn inpaint(&self) -> Offer<'_, dyn Inpaint> {
        Ok(self)
    }

    fn edit(&self) -> Offer<'_, dyn Edit> {
        Ok(self)
    }
}

impl Likelihood for PixelCnn {
    fn methods(&self) -> Vec<LikelihoodMethod> {
        let name = "exact".to_owned();
        vec![LikelihoodMethod { name, kind: LikelihoodKind::Exact, draws: 0, passes: 1 }]
    }

    fn nats(
        &self,
        method: &LikelihoodMethod,
        batch: &Batch,
        _noise: &Noise,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        if !self.methods().contains(method) {
            return Err(Error::Unsupported(format!("no likelihood method {}", method.name)));
        }
        let log_probs = tch::no_grad(|| self.log_probs(batch, false));
        on_step.step(Progress { call: 1, calls: 1, images: &|| batch.images.shallow_clone() })?;
        Ok(-log_probs
            .sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double)
            .to_device(tch::Device::Cpu))
    }
}
