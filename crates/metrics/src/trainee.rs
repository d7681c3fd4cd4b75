//! The classifier while it is trained: the layers of [`Network`] with batch normalisation (Ioffe & Szegedy 2015) apart.

use crate::{
    Result,
    network::{Layer, NUM_CONVS, Network, POOLED, pool},
    options::TrainOptions,
};
use paragone_core::{Noise, mix};
use tch::{Device, Kind, Tensor};

const EPS: f64 = 1e-5;

/// A layer without bias and its normalisation.
#[derive(Debug)]
struct Normalised {
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

#[derive(Debug)]
pub(crate) struct Trainee {
    convs: [Normalised; NUM_CONVS],
    hidden: Normalised,
    heads: Vec<(String, Layer)>,
    dropout: f64,
    seed: u64,
}

impl Trainee {
    /// `heads`: names with numbers of outputs.
    pub(crate) fn new(
        channels: i64,
        heads: &[(&str, i64)],
        options: &TrainOptions,
        device: Device,
    ) -> Self {
        let weight = |layer: u64, size: &[i64]| {
            uniform_weight(size, mix(&[options.seed, layer]))
                .to_device(device)
                .set_requires_grad(true)
        };
        let [a, b, c] = options.widths;
        let dim = options.feature_dim;
        let head = |(i, &(name, outputs)): (usize, &(&str, i64))| {
            let zeros = Tensor::zeros([outputs], (Kind::Float, device));
            let weight = weight(4 + i as u64, &[outputs, dim]);
            (name.to_owned(), Layer { weight, bias: zeros.set_requires_grad(true) })
        };
        Self {
            convs: [
                Normalised::new(weight(0, &[a, channels, 3, 3])),
                Normalised::new(weight(1, &[b, a, 3, 3])),
                Normalised::new(weight(2, &[c, b, 3, 3])),
            ],
            hidden: Normalised::new(weight(3, &[dim, c * POOLED * POOLED])),
            heads: heads.iter().enumerate().map(head).collect(),
            dropout: options.dropout,
            seed: options.seed,
        }
    }

    /// What the optimiser updates.
    pub(crate) fn parameters(&self) -> Vec<Tensor> {
        let normalised = self.convs.iter().chain([&self.hidden]);
        normalised
            .flat_map(|layer| [&layer.weight, &layer.scale, &layer.shift])
            .chain(self.heads.iter().flat_map(|(_, head)| [&head.weight, &head.bias]))
            .map(Tensor::shallow_clone)
            .collect()
    }

    /// Outputs of every head for images, f32 `[n, c, h, w]` in [-1, 1], in training mode: normalised by the batch,
    /// features dropped.
    pub(crate) fn forward(&self, images: &Tensor, step: u64) -> Result<Vec<Tensor>> {
        let mut x = images.shallow_clone();
        for (i, conv) in self.convs.iter().enumerate() {
            x = x.f_conv2d(&conv.weight, None::<&Tensor>, 1, 1, 1, 1)?;
            x = pool(&conv.normalise(&x)?.relu(), i)?;
        }
        let x = x.flatten(1, -1).f_linear(&self.hidden.weight, None::<&Tensor>)?;
        let features = self.hidden.normalise(&x)?.relu();
        let size = features.size();
        let noise = Noise::new(vec![mix(&[self.seed, step, 1])], features.device());
        let kept = noise.uniform(0, &size).squeeze_dim(0).ge(self.dropout) / (1.0 - self.dropout);
        let features = features * kept;
        self.heads.iter().map(|(_, head)| head.apply(&features)).collect()
    }

    /// The frozen network that computes the same with the running statistics.
    pub(crate) fn fold(&self) -> Network {
        tch::no_grad(|| Network {
            convs: self.convs.each_ref().map(Normalised::fold),
            hidden: self.hidden.fold(),
            heads: self.heads.iter().map(|(name, head)| (name.clone(), head.detach())).collect(),
        })
    }
}

impl Normalised {
    fn new(weight: Tensor) -> Self {
        let options = (Kind::Float, weight.device());
        let outputs = weight.size()[0];
        Self {
            weight,
            scale: Tensor::ones([outputs], options).set_requires_grad(true),
            shift: Tensor::zeros([outputs], options).set_requires_grad(true),
            running_mean: Tensor::zeros([outputs], options),
            running_var: Tensor::ones([outputs], options),
        }
    }

    fn normalise(&self, x: &Tensor) -> Result<Tensor> {
        let (mean, var) = (Some(&self.running_mean), Some(&self.running_var));
        Ok(x.f_batch_norm(Some(&self.scale), Some(&self.shift), mean, var, true, 0.1, EPS, true)?)
    }

    /// γ (W x - μ) / σ + β as a layer with a bias.
    fn fold(&self) -> Layer {
        let factor = &self.scale / (&self.running_var + EPS).sqrt();
        let per_output = [&[-1], vec![1; self.weight.dim() - 1].as_slice()].concat();
        Layer {
            weight: &self.weight * factor.reshape(per_output),
            bias: &self.shift - &self.running_mean * factor,
        }
    }
}

/// He et al. 2015's uniform initial weights for rectifiers: variance 2 / inputs. Uniform, because that takes only
/// multiplication: the same bits on every machine.
pub(crate) fn uniform_weight(size: &[i64], seed: u64) -> Tensor {
    let inputs: i64 = size[1..].iter().product();
    let bound = (6.0 / inputs as f64).sqrt();
    let uniform = Noise::new(vec![seed], Device::Cpu).uniform(0, size).squeeze_dim(0);
    (uniform * 2.0 - 1.0) * bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use paragone_core::from_levels;

    fn assert_close(got: &Tensor, want: &Tensor, tolerance: f64) {
        let apart = (got - want).abs().max().double_value(&[]);
        assert!(apart < tolerance, "{apart} apart");
    }

    /// With running statistics set to a batch's own, the folded network equals the training network without dropout.
    #[test]
    fn folding_changes_nothing() {
        let options = TrainOptions {
            widths: [4, 6, 8],
            feature_dim: 10,
            dropout: 0.0,
            ..TrainOptions::default()
        };
        let trainee = Trainee::new(2, &[("class", 3), ("size", 2)], &options, Device::Cpu);
        tch::no_grad(|| {
            for (i, parameter) in trainee.parameters().iter_mut().enumerate() {
                let noise =
                    uniform_weight(&parameter.size(), 100 + i as u64).reshape(parameter.size());
                *parameter += noise * 0.1;
            }
        });
        let images = Noise::new((0..40).collect(), Device::Cpu).uniform(0, &[2, 12, 12]) * 255.0;
        let images_u8 = images.to_kind(Kind::Uint8);
        let want = tch::no_grad(|| {
            let x = from_levels(&images_u8);
            // The running statistics move a tenth of the way to the batch's each time.
            for _ in 0..400 {
                let _ = trainee.forward(&x, 0).unwrap();
            }
            Tensor::cat(&trainee.forward(&x, 0).unwrap(), 1)
        });
        let network = trainee.fold();
        let got = network.logits(&network.features(&images_u8).unwrap()).unwrap();
        // Running variances are unbiased, a batch's are not: n / (n - 1) at the narrowest layer, n = 40.
        assert_close(&got, &want, 0.05 * want.abs().max().double_value(&[]));
    }

    #[test]
    fn weights_have_the_variance_that_rectifiers_want() {
        let weight = uniform_weight(&[64, 32, 3, 3], 0);
        let variance = weight.var(true).double_value(&[]);
        assert!((variance * 288.0 / 2.0 - 1.0).abs() < 0.03, "{variance}");
        assert!(!weight.equal(&uniform_weight(&[64, 32, 3, 3], 1)));
    }
}
