use crate::model::Model;
use paragone_core::{
    Batch, Error, Likelihood, LikelihoodKind, LikelihoodMethod, Noise, OnStep, Progress, Result,
};
use tch::{Kind, Tensor, no_grad};

impl Likelihood for Model {
    /// `elbo`: the negative ELBO, its expectation by one draw, its KL divergence in closed form, without free bits or β.
    /// `iwae-k`: the importance-weighted bound of k draws, Burda et al. 2016, equation 8.
    fn methods(&self) -> Vec<LikelihoodMethod> {
        let method = |name: String, draws| LikelihoodMethod {
            name,
            kind: LikelihoodKind::Bound,
            draws,
            passes: draws,
        };
        let draws = self.config.iwae_draws;
        let weighted = (draws > 0).then(|| method(format!("iwae-{draws}"), draws));
        std::iter::once(method("elbo".to_owned(), 1)).chain(weighted).collect()
    }

    fn nats(
        &self,
        method: &LikelihoodMethod,
        batch: &Batch,
        noise: &Noise,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        assert_eq!(batch.len(), noise.len(), "one seed for each image");
        if !self.methods().contains(method) {
            return Err(Error::Unsupported(format!("no likelihood method {}", method.name)));
        }
        let weighted = method.name != "elbo";
        no_grad(|| self.bound_by_draws(weighted, method.draws, batch, noise, on_step))
    }
}

impl Model {
    /// f64 `[n]` in nats on the host.
    fn bound_by_draws(
        &self,
        weighted: bool,
        draws: u64,
        batch: &Batch,
        noise: &Noise,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        let features = self.ladder.encode(&batch.images);
        let condition = self.ladder.embed(&batch.conditions);
        let mut log_weights = Vec::with_capacity(draws as usize);
        for draw in 0..draws {
            let noise = noise.fork(draw);
            // log p(z) - log q(z | x), or its expectation.
            let mut log_ratio = Tensor::zeros([batch.len()], (Kind::Double, batch.images.device()));
            let params = self.ladder.decode(&condition, Some(&features), &mut |choice| {
                let (prior, posterior) = (choice.prior, choice.posterior.expect("features"));
                let eps = noise.normal(choice.group as u64, &self.latent_shapes[choice.group]);
                let z = posterior.at(&eps);
                log_ratio += if weighted {
                    prior.log_density(&z) - posterior.log_density(&z)
                } else {
                    -posterior.kl(&prior).to_kind(Kind::Double)
                };
                z
            });
            let log_likelihood = self.log_likelihood(&params, batch).to_kind(Kind::Double);
            log_weights.push(log_likelihood + log_ratio);
            let reconstruction = || self.head.mean(&params).clamp(-1.0, 1.0);
            on_step.step(Progress { call: draw + 1, calls: draws, images: &reconstruction })?;
        }
        let log_mean = Tensor::stack(&log_weights, 0).logsumexp(0, false) - (draws as f64).ln();
        Ok((-log_mean).to_device(tch::Device::Cpu))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gaussian::sum_per_image;
    use crate::{
        Vae, VaeConfig,
        fixtures::{build, data, flat, scalar, seeded, train, twins},
    };
    use paragone_core::{
        Conditions, Family, Generator, StepContext, bits_per_dim, from_levels, to_levels,
    };
    use paragone_nn::pixel::PixelLikelihood;
    use std::ops::ControlFlow;
    use tch::{Device, Kind, nn::VarStore};

    fn go(_: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Every image `times` times over.
    fn repeated(batch: &Batch, times: i64) -> Batch {
        let Conditions { class, tokens, .. } = &batch.conditions;
        let repeat = |t: &Tensor| t.repeat_interleave_self_int(times, 0, None);
        let conditions = Conditions { class: repeat(class), tokens: repeat(tokens), known: None };
        Batch { images: repeat(&batch.images), conditions }
    }

    /// Nats of each image, averaged over independent repetitions: f64 `[n]`.
    fn average(model: &Model, draws: u64, batch: &Batch, repetitions: i64) -> Tensor {
        let rows = batch.len() * repetitions;
        let noise = Noise::new((0..rows as u64).collect(), Device::Cpu);
        let batch = repeated(batch, repetitions);
        let nats =
            no_grad(|| model.bound_by_draws(draws > 1, draws, &batch, &noise, &mut go).unwrap());
        nats.reshape([-1, repetitions]).mean_dim(1, false, Kind::Double)
    }

    /// -log ∫ p(x | z) p(z) dz over the one latent by the midpoint rule, f64 `[n]`.
    fn integral(model: &Model, batch: &Batch) -> Tensor {
        const CELLS: i64 = 400;
        const CELL: f64 = 16.0 / CELLS as f64;
        let _guard = tch::no_grad_guard();
        let eps = (Tensor::arange(CELLS, (Kind::Float, Device::Cpu)) + 0.5) * CELL - 8.0;
        let eps = eps.repeat([batch.len()]).view([-1, 1, 1, 1]);
        let batch = repeated(batch, CELLS);
        let condition = model.ladder.embed(&batch.conditions);
        let params = model.ladder.decode(&condition, None, &mut |choice| choice.prior.at(&eps));
        let log_prob = model.head.log_prob(&params, &to_levels(&batch.images));
        let eps = eps.flatten(0, -1).to_kind(Kind::Double);
        let log_prior = eps.square() / -2.0 - std::f64::consts::TAU.ln() / 2.0;
        let terms = sum_per_image(&log_prob.to_kind(Kind::Double)) + log_prior + CELL.ln();
        -terms.reshape([-1, CELLS]).logsumexp(1, false)
    }

    fn mean(x: &Tensor) -> f64 {
        x.mean(Kind::Double).double_value(&[])
    }

    /// Moves weights far from where training begins, so that latent and posterior matter.
    fn wake(vars: &VarStore) {
        no_grad(|| {
            for (name, mut parameter) in vars.variables() {
                if name.contains("posterior.expand") || name.ends_with("embed.weight") {
                    let _ = parameter.g_mul_scalar_(12.0);
                }
            }
        });
    }

    #[test]
    fn bounds_tighten_towards_the_integral() {
        let _turn = seeded();
        let data = data(1, 4, 4);
        let (vars, model) = build(&flat(1), &data);
        wake(&vars);
        let batch = twins(6, &data);
        let exact = integral(&model, &batch);
        let bounds =
            [1, 4, 32, 256].map(|draws| average(&model, draws, &batch, 2048 / draws as i64));
        let means = bounds.each_ref().map(mean);
        assert!(means[0] > mean(&exact) + 0.02, "{means:?} leave no gap to {exact:?}");
        assert!(means.windows(2).all(|pair| pair[1] < pair[0]), "{means:?} do not fall");
        assert!(means[3] > mean(&exact) - 0.01, "{means:?} pass {}", mean(&exact));
        let error = (&bounds[3] - &exact).abs().max().double_value(&[]);
        assert!(error < 0.1, "256 draws miss the integral by {error} nats");
    }

    #[test]
    fn a_ladder_offers_both_bounds_and_the_weighted_one_is_tighter() {
        let _turn = seeded();
        let data = data(3, 8, 8);
        let (vars, model) = build(&Vae::tiny(), &data);
        let batch = twins(4, &data);
        train(&vars, &model, &batch, 30);
        let offer: &dyn Likelihood = model.likelihood().unwrap();
        let methods = offer.methods();
        let names: Vec<_> = methods.iter().map(|m| (m.name.as_str(), m.draws, m.passes)).collect();
        assert_eq!(names, [("elbo", 1, 1), ("iwae-4", 4, 4)]);
        let noise = Noise::new(vec![1, 2, 3, 4], Device::Cpu);
        for method in &methods {
            let mut calls = 0;
            let nats = offer.nats(method, &batch, &noise, &mut |progress: Progress| {
                calls += 1;
                assert_eq!((progress.call, progress.calls), (calls, method.passes));
                assert_eq!((progress.images)().size(), [4, 3, 8, 8]);
                ControlFlow::Continue(())
            });
            let nats = nats.unwrap();
            assert_eq!((nats.size(), nats.kind()), (vec![4], Kind::Double));
            assert_eq!(calls, method.passes);
            let again = offer.nats(method, &batch, &noise, &mut go).unwrap();
            assert!(nats.equal(&again), "the same noise gives another figure");
        }
        let [elbo, weighted] = [1, 4].map(|draws| mean(&average(&model, draws, &batch, 40)));
        assert!(weighted < elbo, "{weighted} is not below {elbo}");
        let mut stop = |_: Progress| ControlFlow::Break(());
        let stopped = offer.nats(&methods[1], &batch, &noise, &mut stop);
        assert!(matches!(stopped, Err(Error::Stopped)));
        let unknown = LikelihoodMethod { name: "exact".into(), ..methods[0].clone() };
        assert!(matches!(
            offer.nats(&unknown, &batch, &noise, &mut go),
            Err(Error::Unsupported(_))
        ));
    }

    /// Prior, posterior and pixels that know nothing: whatever the latents, all levels are equally likely.
    #[test]
    fn knowing_nothing_costs_eight_bits() {
        let _turn = seeded();
        for channels in [1, 3] {
            let data = data(channels, 8, 8);
            let config = VaeConfig { likelihood: PixelLikelihood::Softmax256, ..Vae::tiny() };
            let (vars, model) = build(&config, &data);
            no_grad(|| vars.variables().into_values().for_each(|mut value| drop(value.zero_())));
            let batch = twins(3, &data);
            for draws in [1, 16] {
                let bits = bits_per_dim(mean(&average(&model, draws, &batch, 2)), 64 * channels);
                assert!((bits - 8.0).abs() < 1e-6, "{bits} by {draws} draws");
            }
        }
    }

    /// Over all images of one pixel a bound gives less than one in all, and more draws lose less.
    #[test]
    fn bounds_sum_to_one_at_most() {
        let _turn = seeded();
        let data = data(1, 1, 1);
        let config = VaeConfig {
            widths: vec![16],
            latents: Some(vec![vec![2], vec![1]]),
            free_bits: 0.0,
            ..Vae::tiny()
        };
        let (vars, model) = build(&config, &data);
        let of_levels = |levels: &[i64], class: i64| Batch {
            images: from_levels(&Tensor::from_slice(levels)).view([-1, 1, 1, 1]),
            conditions: Conditions::of_classes(&vec![class; levels.len()], &data, Device::Cpu),
        };
        wake(&vars);
        for class in [1, data.null_class()] {
            let all = of_levels(&(0..256).collect::<Vec<_>>(), class);
            let sum = |draws| {
                let nats = average(&model, draws, &all, 128 / draws as i64);
                (-nats).exp().sum(Kind::Double).double_value(&[])
            };
            let sums = [1, 8, 64].map(sum);
            assert!(sums[0] < 0.99 && sums[0] < sums[1] && sums[1] < sums[2] + 1e-3, "{sums:?}");
            assert!((0.85..1.003).contains(&sums[2]), "{sums:?}");
        }
    }

    /// Whatever training pays for: free bits, β and warm-up are absent from the `elbo` of both loss and likelihood.
    #[test]
    fn the_reported_elbo_is_the_elbo() {
        let _turn = seeded();
        let data = data(1, 8, 8);
        let config = VaeConfig { free_bits: 40.0, beta: 0.5, ..Vae::tiny() };
        let (vars, model) = build(&config, &data);
        let batch = twins(8, &data);
        train(&vars, &model, &batch, 30);
        let context = StepContext { step: 0, images: 0, progress: 0.3 };
        let mut scalars = Vec::new();
        for _ in 0..60 {
            let loss = model.loss(&model.phases()[0], &batch, &context).unwrap();
            scalars.push(("elbo", loss.scalars[1].1.double_value(&[])));
            assert_eq!(loss.scalars[1].0, "elbo");
        }
        let logged = scalars.iter().map(|(_, x)| x).sum::<f64>() / 60.0;
        assert!((scalar(&scalars[..1], "elbo") - logged).abs() < 0.5, "draws differ wildly");
        let measured = bits_per_dim(mean(&average(&model, 1, &batch, 60)), data.shape.numel());
        assert!(
            (logged - measured).abs() < 0.01 * measured,
            "{logged} logged, {measured} measured"
        );
    }
}
