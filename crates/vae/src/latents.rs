use crate::{gaussian::Gaussian, model::Model};
use paragone_core::{Batch, Latents, Noise, OnStep, Progress, Result, SampleRequest};
use std::ops::ControlFlow;
use tch::{Tensor, no_grad};

/// The latents of all groups, whitened by their priors and concatenated from the top down.
///
/// Whitened latents are standard normal under the model whatever the conditions; what they stand for depends on the
/// conditions, because the priors do. So decoding under other conditions than those of encoding is an edit.
impl Latents for Model {
    fn latent_dim(&self) -> i64 {
        self.latent_shapes.iter().map(|shape| shape.iter().product::<i64>()).sum()
    }

    /// The posteriors' means, group by group, each given the means above it. Draws nothing.
    fn encode(&self, batch: &Batch, _noise: &Noise, on_step: &mut dyn OnStep) -> Result<Tensor> {
        no_grad(|| {
            let features = self.ladder.encode(&batch.images);
            let condition = self.ladder.embed(&batch.conditions);
            let mut whitened = Vec::with_capacity(self.latent_shapes.len());
            let params = self.ladder.decode(&condition, Some(&features), &mut |choice| {
                let z = choice.posterior.expect("the decoder has features").mean;
                whitened.push(choice.prior.whiten(&z).flatten(1, -1));
                z
            });
            let reconstruction = || self.head.mean(&params).clamp(-1.0, 1.0);
            on_step.step(Progress { call: 1, calls: 1, images: &reconstruction })?;
            Ok(Tensor::cat(&whitened, 1))
        })
    }

    /// `request.temperature` is that of the pixels alone, 0 printing their means; `request.guidance_scale` as in sampling.
    fn decode(&self, z: &Tensor, request: &SampleRequest) -> Result<Tensor> {
        assert_eq!(z.size(), [request.conditions.len(), self.latent_dim()], "[n, latent_dim]");
        let mut start = 0;
        let mut latents = |group: usize, prior: &Gaussian| {
            let [channels, height, width] = self.latent_shapes[group];
            let len = channels * height * width;
            let eps = z.narrow(1, start, len).reshape([-1, channels, height, width]);
            start += len;
            prior.at(&eps)
        };
        no_grad(|| {
            self.generate(request, &mut latents, &mut |_: Progress| ControlFlow::Continue(()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Vae,
        fixtures::{build, data, flat, seeded, train, twins},
    };
    use paragone_core::{Family, Generator};
    use tch::{Device, Kind};

    #[test]
    fn decoding_what_was_encoded_is_the_reconstruction() {
        let _turn = seeded();
        let data = data(1, 8, 8);
        for (config, dim) in [(Vae::tiny(), 4 + 16 * 6 + 64), (flat(5), 5)] {
            let (vars, model) = build(&config, &data);
            let batch = twins(6, &data);
            train(&vars, &model, &batch, 150);
            let latents = model.latents().unwrap();
            assert_eq!(latents.latent_dim(), dim);
            let noise = Noise::new((0..6).collect(), Device::Cpu);
            let mut reconstruction = Tensor::new();
            let z = latents.encode(&batch, &noise, &mut |progress: Progress| {
                reconstruction = (progress.images)();
                ControlFlow::Continue(())
            });
            let z = z.unwrap();
            assert_eq!(z.size(), [6, dim]);
            let means =
                SampleRequest { temperature: 0.0, ..SampleRequest::new(&batch.conditions, &noise) };
            let decoded = latents.decode(&z, &means).unwrap();
            assert!(decoded.allclose(&reconstruction, 1e-4, 1e-4, false));
            // Trained, the reconstruction tells the images apart.
            let error = (&decoded - &batch.images).square().mean(Kind::Float).double_value(&[]);
            let spread = batch.images.var(false).double_value(&[]);
            assert!(error < 0.5 * spread, "error {error} of {spread}");
        }
    }

    /// Sampling is decoding standard normal numbers, which is what whitened means.
    #[test]
    fn samples_are_decoded_noise() {
        let _turn = seeded();
        let data = data(1, 8, 8);
        let (vars, model) = build(&Vae::tiny(), &data);
        let batch = twins(4, &data);
        train(&vars, &model, &batch, 20);
        let noise = Noise::new(vec![3, 1, 4, 1], Device::Cpu);
        let request = SampleRequest::new(&batch.conditions, &noise);
        let go = &mut |_: Progress| ControlFlow::Continue(());
        let sampled = model.sample(&request, go).unwrap();
        let shapes = model.latent_shapes.iter().enumerate();
        let z = shapes.map(|(group, shape)| noise.normal(group as u64, shape).flatten(1, -1));
        let decoded = model.decode(&Tensor::cat(&z.collect::<Vec<_>>(), 1), &request).unwrap();
        assert!(decoded.equal(&sampled));
    }
}
