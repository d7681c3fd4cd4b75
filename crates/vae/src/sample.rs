use crate::{gaussian::Gaussian, ladder::Choice, model::Model};
use paragone_core::{OnStep, Progress, Result, SampleRequest, from_levels};
use tch::Tensor;

impl Model {
    /// Images whose latents are drawn from the priors with `request.noise`, one draw a group.
    pub(crate) fn ancestral(
        &self,
        request: &SampleRequest,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        let mut latents = |group: usize, prior: &Gaussian| {
            let eps = request.noise.normal(group as u64, &self.latent_shapes[group]);
            prior.at(&(eps * request.temperature))
        };
        self.generate(request, &mut latents, on_step)
    }

    /// Images from the parameters of their pixels' distributions: drawn with draw `draw` of `request.noise` at
    /// `request.temperature`, whose limit 0 stands for the mean, guided by the latents alone.
    fn pixels(
        &self,
        params: &Tensor,
        unprompted: Option<&Tensor>,
        request: &SampleRequest,
        draw: u64,
    ) -> Tensor {
        if request.temperature == 0.0 {
            return self.head.mean(params).clamp(-1.0, 1.0);
        }
        let shape = self.data.shape;
        let num_uniforms = self.head.num_uniforms();
        let uniforms = request.noise.uniform(draw, &[num_uniforms, shape.height, shape.width]);
        let temperature = request.temperature;
        from_levels(&match unprompted {
            None => self.head.sample(params, &uniforms, temperature),
            Some(unprompted) => {
                let scale = request.guidance_scale;
                self.head.sample_guided(params, unprompted, &uniforms, temperature, scale)
            }
        })
    }

    /// Comes down the ladder once, `latents(group, distribution)` naming the latents: of the priors or, where there are images
    /// to look at, of the posteriors. Under guidance the conditional and the unconditional decoder come down together on the same
    /// latents, drawn from the conditional prior with its mean pushed away from the unconditional one: u + w (c - u).
    /// `draw` is that of the pixels.
    pub(crate) fn pass(
        &self,
        request: &SampleRequest,
        images: Option<&Tensor>,
        draw: u64,
        latents: &mut dyn FnMut(usize, &Gaussian) -> Tensor,
    ) -> Tensor {
        let guided = request.guidance_scale != 1.0;
        let asked = if guided {
            let unprompted = request.unwanted(&self.data);
            self.ladder.embed(&request.conditions.followed_by(&unprompted))
        } else {
            self.ladder.embed(request.conditions)
        };
        let features = images.map(|images| {
            let images = if guided { images.repeat([2, 1, 1, 1]) } else { images.shallow_clone() };
            self.ladder.encode(&images)
        });
        let params = self.ladder.decode(&asked, features.as_deref(), &mut |choice| {
            let Choice { group, prior, posterior } = choice;
            if !guided {
                return latents(group, posterior.as_ref().unwrap_or(&prior));
            }
            let distribution = match posterior {
                Some(posterior) => posterior.guided(1.0),
                None => prior.guided(request.guidance_scale),
            };
            let z = latents(group, &distribution);
            Tensor::cat(&[&z, &z], 0)
        });
        if !guided {
            return self.pixels(&params, None, request, draw);
        }
        let halves = params.chunk(2, 0);
        self.pixels(&halves[0], Some(&halves[1]), request, draw)
    }

    /// Network calls of a [`Model::pass`].
    pub(crate) fn calls(request: &SampleRequest) -> u64 {
        if request.guidance_scale == 1.0 { 1 } else { 2 }
    }

    /// Images from the latents that `latents(group, prior)` names.
    pub(crate) fn generate(
        &self,
        request: &SampleRequest,
        latents: &mut dyn FnMut(usize, &Gaussian) -> Tensor,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        request.check()?;
        // The draws before that of the pixels are the groups'.
        let images = self.pass(request, None, self.latent_shapes.len() as u64, latents);
        let calls = Self::calls(request);
        for call in 1..=calls {
            on_step.step(Progress { call, calls, images: &|| images.shallow_clone() })?;
        }
        Ok(images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Vae,
        fixtures::{build, data, flat, seeded, train, twins},
    };
    use paragone_core::{Conditions, Error, Family, Generator, Noise, to_levels};
    use std::ops::ControlFlow;
    use tch::{Device, Kind};

    fn go(_: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn an_image_depends_on_its_seed_and_not_on_its_batch() {
        let _turn = seeded();
        for (config, data) in
            [(Vae::tiny(), data(1, 8, 8)), (flat(5), data(1, 8, 8)), (Vae::tiny(), data(3, 8, 8))]
        {
            let (vars, model) = build(&config, &data);
            train(&vars, &model, &twins(4, &data), 20);
            let conditions = Conditions::of_classes(&[0, 1, 2, 3, 1], &data, Device::Cpu);
            let noise = Noise::new(vec![5, 6, 7, 8, 9], Device::Cpu);
            let all = model.sample(&SampleRequest::new(&conditions, &noise), &mut go).unwrap();
            assert_eq!(all.size(), data.shape.batch(5));
            assert!(all.equal(&from_levels(&to_levels(&all))), "pixels are off the grid");
            let (conditions, noise) = (conditions.narrow(3, 1), noise.narrow(3, 1));
            let one = model.sample(&SampleRequest::new(&conditions, &noise), &mut go).unwrap();
            // Sums are reordered, so a uniform may fall on the other side of a step of a distribution.
            let differ = one.ne_tensor(&all.narrow(0, 3, 1)).to_kind(Kind::Float).mean(Kind::Float);
            assert!(
                differ.double_value(&[]) < 0.02,
                "{} of the pixels differ",
                differ.double_value(&[])
            );
        }
    }

    #[test]
    fn temperature_and_guidance_do_what_they_say() {
        let _turn = seeded();
        let data = data(1, 8, 8);
        let (vars, model) = build(&Vae::tiny(), &data);
        train(&vars, &model, &twins(4, &data), 20);
        let draw = |classes: &[i64], guidance_scale, temperature| {
            let conditions = Conditions::of_classes(classes, &data, Device::Cpu);
            let noise = Noise::new((10..10 + classes.len() as u64).collect(), Device::Cpu);
            let mut calls = 0;
            let request = SampleRequest {
                guidance_scale,
                temperature,
                ..SampleRequest::new(&conditions, &noise)
            };
            let images = model.sample(&request, &mut |progress: Progress| {
                calls += 1;
                assert_eq!(progress.call, calls);
                ControlFlow::Continue(())
            });
            (images.unwrap(), calls)
        };
        let (plain, calls) = draw(&[1, 1], 1.0, 1.0);
        assert_eq!(calls, 1);
        let (guided, calls) = draw(&[1, 1], 4.0, 1.0);
        assert_eq!(calls, 2);
        assert!(!guided.equal(&plain));
        // Asked for nothing, there is nothing to be pushed away from.
        let nothing = |scale| draw(&[3, 3], scale, 0.0).0;
        assert!(nothing(4.0).allclose(&nothing(1.0), 1e-4, 1e-4, false));
        // At temperature 0 all that is left is the condition.
        let (cold, _) = draw(&[1, 1], 1.0, 0.0);
        assert!(cold.get(0).equal(&cold.get(1)) && !plain.get(0).equal(&plain.get(1)));
        let conditions = Conditions::none(1, &data, Device::Cpu);
        let noise = Noise::new(vec![1], Device::Cpu);
        let request =
            SampleRequest { temperature: -1.0, ..SampleRequest::new(&conditions, &noise) };
        assert!(matches!(model.sample(&request, &mut go), Err(Error::Unsupported(_))));
        let mut stop = |_: Progress| ControlFlow::Break(());
        let stopped = model.sample(&SampleRequest::new(&conditions, &noise), &mut stop);
        assert!(matches!(stopped, Err(Error::Stopped)));
    }
}
