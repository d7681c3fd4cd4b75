//! Completing and changing images by way of their latents.

use crate::{gaussian::Gaussian, model::Model};
use paragone_core::{Batch, Edit, Inpaint, Latents, OnStep, Progress, Result, SampleRequest};
use tch::{Kind, Tensor, no_grad};

/// Draws of an image's noise that tasks use, apart from those of sampling.
const DRAWS: u64 = 1 << 32;

/// New images of which the hole of the one that fits the known pixels best is where a chain begins.
const STARTS: u64 = 8;

/// A model that was shown known pixels in training samples as ever. Any other looks at the image, draws latents from their posterior
/// and the hole's pixels given these, and again (pseudo-Gibbs sampling, Rezende et al. 2014, appendix F): a Markov chain whose
/// limit is p(hole | known) if the posterior is exact. It leaves its beginning slowly, which is therefore a new image's hole.
impl Inpaint for Model {
    fn method(&self) -> String {
        if self.data.known_pixels {
            return "shown known pixels in training".to_owned();
        }
        let sweeps = self.config.inpaint_sweeps;
        format!("pseudo-Gibbs sampling, {sweeps} sweeps from the best of {STARTS} draws")
    }

    fn inpaint(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        request.check()?;
        let known = request.conditions.known.as_ref();
        let known = known.expect("a request to in-paint has known pixels");
        if self.data.known_pixels {
            return Ok(known.over(&no_grad(|| self.ancestral(request, on_step))?));
        }
        let sweeps = self.config.inpaint_sweeps;
        let (groups, each) = (self.latent_shapes.len() as u64, Self::calls(request));
        let calls = each * (STARTS + sweeps);
        no_grad(|| {
            let mut images = known.filled(self.data.mean);
            let mut least =
                Tensor::full([images.size()[0]], f64::INFINITY, (Kind::Float, images.device()));
            for round in 0..STARTS + sweeps {
                let first = DRAWS + round * (groups + 1);
                let mut latents = |group: usize, distribution: &Gaussian| {
                    let shape = &self.latent_shapes[group];
                    distribution.at(&request.noise.normal(first + group as u64, shape))
                };
                let seen = (round >= STARTS).then_some(&images);
                let made = self.pass(request, seen, first + groups, &mut latents);
                let completed = known.over(&made);
                if round < STARTS {
                    let error = (made - &completed).square().sum_dim_intlist(
                        [1, 2, 3].as_slice(),
                        false,
                        Kind::Float,
                    );
                    let better = error.less_tensor(&least).view([-1, 1, 1, 1]);
                    images = completed.where_self(&better, &images);
                    least = least.minimum(&error);
                } else {
                    images = completed;
                }
                for call in 1..=each {
                    let call = round * each + call;
                    on_step.step(Progress { call, calls, images: &|| images.shallow_clone() })?;
                }
            }
            Ok(images.shallow_clone())
        })
    }
}

/// The source's latents, whitened by their priors under its own conditions, mixed with new ones and decoded under those asked
/// for: √(1 − s²) z + s ε at strength s. What its own latents fail to bring back of the source is added in part, (1 − s).
impl Edit for Model {
    fn method(&self) -> String {
        "its latents, in part new ones, decoded under what is asked for".to_owned()
    }

    fn reads_source(&self) -> bool {
        true
    }

    fn edit(
        &self,
        source: &Batch,
        request: &SampleRequest,
        strength: f64,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        request.check()?;
        if strength == 0.0 {
            return Ok(source.images.copy());
        }
        // Of what is printed, the mean: only what the latents say is to change.
        let calls = 2 + Self::calls(request);
        let mut call = 0;
        let mut report = |images: &Tensor| {
            call += 1;
            on_step.step(Progress { call, calls, images: &|| images.shallow_clone() })
        };
        let go = &mut |_: Progress| std::ops::ControlFlow::Continue(());
        no_grad(|| {
            let z = self.encode(source, request.noise, go)?;
            report(&source.images)?;
            let plain = SampleRequest {
                temperature: 0.0,
                ..SampleRequest::new(&source.conditions, request.noise)
            };
            let missing = &source.images - self.decode(&z, &plain)?;
            report(&source.images)?;
            let new = request.noise.normal(DRAWS, &[self.latent_dim()]) * request.temperature;
            let z = z * (1.0 - strength * strength).sqrt() + new * strength;
            let asked = SampleRequest { temperature: 0.0, ..*request };
            let edited = self.decode(&z, &asked)? + missing * (1.0 - strength);
            let edited = edited.clamp(-1.0, 1.0);
            for _ in 0..Self::calls(request) {
                report(&edited)?;
            }
            Ok(source.kept(request.conditions, edited))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Vae,
        fixtures::{build, data, seeded, train, twins},
    };
    use paragone_core::{Conditions, Family, Known, Noise};
    use std::ops::ControlFlow;
    use tch::Device;

    fn go(_: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Half of an image of a few that the model knows by heart is completed better than by other halves.
    #[test]
    fn a_hole_is_filled_to_fit_what_is_known() {
        let _turn = seeded();
        let data = data(1, 8, 8);
        let (vars, model) = build(&Vae::tiny(), &data);
        let batch = twins(6, &data);
        let n = batch.len();
        let mask = Tensor::ones([n, 1, 8, 8], (Kind::Float, Device::Cpu));
        let _ = mask.narrow(3, 4, 4).fill_(0.0);
        let known = Known { pixels: batch.images.shallow_clone(), mask };
        let conditions = batch.conditions.with_known(Some(known));
        let complete = |first: u64| {
            let noise = Noise::new((first..first + n as u64).collect(), Device::Cpu);
            model.inpaint(&SampleRequest::new(&conditions, &noise), &mut go).unwrap()
        };
        // Before it has learnt them, all is left to chance.
        assert!(!complete(0).equal(&complete(10)));
        train(&vars, &model, &batch, 100);
        let completed = complete(0);
        let half = |t: &Tensor| t.narrow(3, 4, 4);
        let error = |a: &Tensor| {
            (half(a) - half(&batch.images)).square().mean(Kind::Double).double_value(&[])
        };
        let (own, others) = (error(&completed), error(&completed.roll([1], [0])));
        assert!(own < 0.8 * others, "{own} and {others}");
    }

    /// An edit to what an image is already changes less the weaker it is, and what is left of the source falls.
    #[test]
    fn a_weaker_edit_keeps_more() {
        let _turn = seeded();
        let data = data(1, 8, 8);
        let (vars, model) = build(&Vae::tiny(), &data);
        let batch = twins(6, &data);
        train(&vars, &model, &batch, 100);
        let noise = Noise::new((0..batch.len() as u64).collect(), Device::Cpu);
        let nothing = Conditions::none(batch.len(), &data, Device::Cpu);
        let error = |conditions: &Conditions, strength: f64| {
            let request = SampleRequest::new(conditions, &noise);
            let edited = model.edit(&batch, &request, strength, &mut go).unwrap();
            (edited - &batch.images).square().mean(Kind::Double).double_value(&[])
        };
        assert_eq!(error(&nothing, 0.0), 0.0);
        let same = [0.1, 0.5, 1.0].map(|strength| error(&batch.conditions, strength));
        assert!(same[0] < 0.02 && same[0] < same[1] && same[1] < same[2], "{same:?}");
        assert!(error(&nothing, 0.1) > same[0], "conditions change nothing");
    }
}
