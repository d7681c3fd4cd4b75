use crate::{config::VaeConfig, gaussian::sum_per_image, ladder::Ladder};
use paragone_core::{
    Batch, DataSpec, Edit, Fact, Generator, Inpaint, Latents, Likelihood, Loss, Offer, OnStep,
    OptimizerConfig, Phase, Result, SampleRequest, StepContext, to_levels,
};
use paragone_nn::pixel::PixelHead;
use std::f64::consts::LN_2;
use tch::{Kind, Tensor, nn::Path, no_grad};

/// Scalars for the KL divergence of each group, from the top down; groups beyond these are in `kl` only.
const GROUP_SCALARS: [&str; 12] = [
    "kl_group_0",
    "kl_group_1",
    "kl_group_2",
    "kl_group_3",
    "kl_group_4",
    "kl_group_5",
    "kl_group_6",
    "kl_group_7",
    "kl_group_8",
    "kl_group_9",
    "kl_group_10",
    "kl_group_11",
];

/// Share of the newest batch in the running mean of the rate, once that has begun.
const RATE_UPDATE: f64 = 0.01;

/// A VAE on its parameters.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) config: VaeConfig,
    pub(crate) data: DataSpec,
    pub(crate) ladder: Ladder,
    pub(crate) head: PixelHead,
    /// `[channels, h, w]` of every group, from the top down.
    pub(crate) latent_shapes: Vec<[i64; 3]>,
    /// f32 scalar, a buffer: running mean over training of the KL divergence in bits an image.
    rate: Tensor,
}

/// The two halves of the ELBO.
pub(crate) struct Bound {
    /// log p(x | z) in nats: f32 `[n]`.
    pub(crate) log_likelihood: Tensor,
    /// KL(q ‖ p) of each group in nats, f32 `[n]` each: with the gradient of the posterior q alone.
    pub(crate) kl: Vec<Tensor>,
    /// The same with the gradient of the prior p alone.
    pub(crate) prior_kl: Vec<Tensor>,
}

impl Model {
    /// Creates the parameters below `vars / "net"`. `config` has been validated.
    pub(crate) fn new(config: &VaeConfig, data: &DataSpec, vars: &Path) -> Result<Self> {
        let path = vars / "net";
        let head = PixelHead::new(&path / "pixel", config.likelihood, data.shape.channels);
        let ladder = Ladder::new(&path, config, data, &head)?;
        Ok(Self {
            config: config.clone(),
            data: data.clone(),
            head,
            latent_shapes: ladder.latent_shapes(),
            ladder,
            rate: path.zeros_no_train("rate", &[]),
        })
    }

    /// The two halves of the ELBO with latents drawn from the posterior by libtorch's global generator.
    pub(crate) fn bound(&self, batch: &Batch) -> Bound {
        let features = self.ladder.encode(&batch.images);
        let condition = self.ladder.embed(&batch.conditions);
        let mut kl = Vec::with_capacity(self.latent_shapes.len());
        let mut prior_kl = Vec::with_capacity(self.latent_shapes.len());
        let params = self.ladder.decode(&condition, Some(&features), &mut |choice| {
            let posterior = choice.posterior.expect("the decoder has features");
            kl.push(posterior.kl(&choice.prior.detach()));
            prior_kl.push(posterior.detach().kl(&choice.prior));
            // Not `randn_like`, which draws in the order of the mean's memory.
            let mean = &posterior.mean;
            posterior.at(&Tensor::randn(mean.size(), (mean.kind(), mean.device())))
        });
        Bound { log_likelihood: self.log_likelihood(&params, batch), kl, prior_kl }
    }

    /// log p(x | z) in nats, `[n]`, of the pixels that are not known: nothing is left to be said of those that are.
    pub(crate) fn log_likelihood(&self, params: &Tensor, batch: &Batch) -> Tensor {
        let log_prob = self.head.log_prob(params, &to_levels(&batch.images));
        match &batch.conditions.known {
            None => sum_per_image(&log_prob),
            Some(known) => sum_per_image(&(log_prob * (1.0 - known.mask.squeeze_dim(1)))),
        }
    }

    /// Weight of the KL divergence at a share `progress` of the budget.
    fn kl_weight(&self, progress: f64) -> f64 {
        let risen =
            if self.config.kl_warmup > 0.0 { progress / self.config.kl_warmup } else { 1.0 };
        self.config.beta * risen.min(1.0)
    }

    /// Bits per dimension of nats an image.
    fn per_dim(&self) -> f64 {
        1.0 / (self.data.shape.numel() as f64 * LN_2)
    }
}

impl Generator for Model {
    fn phases(&self) -> Vec<Phase> {
        let optimizer = OptimizerConfig {
            // A logistic component narrows only as far as its mean keeps still.
            lr: if self.head.is_precise() { 1e-3 } else { 2e-3 },
            betas: [0.9, 0.95],
            weight_decay: 0.01,
            clip: Some(1.0),
            // Sharp logistic components alone bring norms of hundreds, which clipping takes care of.
            skip_above: Some(1e4),
            ..OptimizerConfig::default()
        };
        vec![Phase { name: "vae", parameters: &["net"], every: 1, optimizer }]
    }

    /// The negative ELBO in bits per dimension, its KL divergence warmed up, weighted and relieved of free bits. The scalars
    /// `elbo` (the negative ELBO itself), `reconstruction` and `kl` are in bits per dimension and free of all that.
    fn loss(&self, _phase: &Phase, batch: &Batch, step: &StepContext) -> Result<Loss> {
        let Bound { log_likelihood, kl, prior_kl } = self.bound(batch);
        let free = self.config.free_bits * LN_2;
        let to_bits = |nats: &Tensor| nats.mean(Kind::Float) * self.per_dim();
        let reconstruction = to_bits(&-log_likelihood);
        let [kl, prior_kl] = [kl, prior_kl].map(|of_groups| Tensor::stack(&of_groups, 0)); // [groups, n]
        // What is free is so for the posterior. The prior always learns what it does, or samples would be of other latents.
        let paid = kl.clamp_min(free) + (&prior_kl - prior_kl.detach());
        let paid = to_bits(&paid.sum_dim_intlist(0, false, Kind::Float));
        let total = &reconstruction + paid * self.kl_weight(step.progress);
        let per_group = kl.detach().mean_dim(1, false, Kind::Float) * self.per_dim();
        let kl = per_group.sum(Kind::Float);
        let mut loss = Loss::new(total)
            .with_scalar("elbo", &(reconstruction.detach() + &kl))
            .with_scalar("reconstruction", &reconstruction)
            .with_scalar("kl", &kl);
        for (name, group) in GROUP_SCALARS.into_iter().zip(per_group.unbind(0)) {
            loss = loss.with_scalar(name, &group);
        }
        Ok(loss)
    }

    /// Follows the rate.
    fn after_step(&self, _phase: &Phase, loss: &Loss, step: &StepContext) -> Result<()> {
        let Some((_, kl)) = loss.scalars.iter().find(|(name, _)| *name == "kl") else {
            return Ok(());
        };
        no_grad(|| {
            let share = RATE_UPDATE.max(1.0 / (step.step + 1) as f64);
            let _ = self.rate.shallow_clone().lerp_(&(kl * self.data.shape.numel() as f64), share);
        });
        Ok(())
    }

    /// Latents from the priors, then pixels from their distributions. `temperature` scales the standard deviation of every
    /// prior and is also that of the pixels, 0 printing their means. `guidance_scale` w pushes the priors' means,
    /// u + w (c - u), and the pixels' log-probabilities alike; it is a second decoder pass.
    fn sample(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        no_grad(|| self.ancestral(request, on_step))
    }

    fn facts(&self) -> Vec<Fact> {
        let fact = |name, value, meaning| Fact { name, value, meaning };
        let rate = self.rate.double_value(&[]);
        let meaning = "KL divergence in bits an image, a running mean over training";
        let mut facts = vec![
            fact("latent_dim", self.latent_dim() as f64, "numbers in the latents of an image"),
            fact("num_groups", self.latent_shapes.len() as f64, "stochastic groups of the ladder"),
        ];
        facts.extend((rate > 0.0).then(|| fact("rate_bits", rate, meaning)));
        facts
    }

    fn likelihood(&self) -> Offer<'_, dyn Likelihood> {
        Ok(self)
    }

    fn latents(&self) -> Offer<'_, dyn Latents> {
        Ok(self)
    }

    fn inpaint(&self) -> Offer<'_, dyn Inpaint> {
        Ok(self)
    }

    fn edit(&self) -> Offer<'_, dyn Edit> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Vae,
        fixtures::{build, data, flat, scalar, seeded, train, twins},
    };
    use paragone_core::Family;

    /// One bit tells the images apart, and only latents can carry it: a collapsed posterior pays for it in every pixel.
    #[test]
    fn latents_are_used() {
        let _turn = seeded();
        let data = data(1, 8, 8);
        for config in [Vae::tiny(), flat(5)] {
            let (vars, model) = build(&config, &data);
            let scalars = train(&vars, &model, &twins(16, &data), 150);
            // Without latents a pixel costs at least one bit.
            let [elbo, kl] = ["elbo", "kl"].map(|name| scalar(&scalars, name));
            assert!(kl * 64.0 > 0.9 && elbo < 0.8, "{scalars:?}");
            let groups: f64 =
                scalars.iter().filter(|(n, _)| n.starts_with("kl_group")).map(|(_, x)| x).sum();
            assert!((groups - kl).abs() < 1e-4);
            let rate = model.facts().into_iter().find(|fact| fact.name == "rate_bits").unwrap();
            // A running mean of what the scalar is in bits per dimension, from its first high values on.
            assert!(rate.value > 0.9 && rate.value < 64.0, "{rate:?}");
        }
    }

    /// What costs the posterior nothing teaches the prior as much as ever.
    #[test]
    fn the_prior_learns_what_is_free() {
        let _turn = seeded();
        let data = data(1, 8, 8);
        let gradient = |free_bits: f64| {
            tch::manual_seed(3);
            let (vars, model) = build(&VaeConfig { free_bits, ..Vae::tiny() }, &data);
            let context = StepContext { step: 0, images: 0, progress: 1.0 };
            let batch = twins(4, &data);
            model.loss(&model.phases()[0], &batch, &context).unwrap().total.backward();
            ["prior", "posterior"].map(|network| {
                let name = format!("net.levels.1.groups.0.{network}.expand.weight");
                vars.variables()[&name].grad().copy()
            })
        };
        let ([prior, posterior], [free_prior, free_posterior]) = (gradient(0.0), gradient(1000.0));
        // The rows of means and standard deviations; others are a residual that no KL divergence is of.
        let rows = |t: Tensor| t.narrow(0, 0, posterior.size()[0]);
        let (prior, free_prior) = (rows(prior), rows(free_prior));
        assert!(prior.abs().max().double_value(&[]) > 0.0);
        assert!(free_prior.allclose(&prior, 1e-5, 1e-9, false));
        assert!(!free_posterior.allclose(&posterior, 1e-3, 1e-9, false));
    }

    #[test]
    fn free_bits_warm_up_and_beta_change_gradients_and_not_the_elbo() {
        let _turn = seeded();
        let data = data(1, 8, 8);
        let measure = |config: VaeConfig, progress: f64| {
            tch::manual_seed(3);
            let (vars, model) = build(&config, &data);
            let batch = twins(4, &data);
            let context = StepContext { step: 0, images: 0, progress };
            let loss = model.loss(&model.phases()[0], &batch, &context).unwrap();
            loss.total.backward();
            let gradient =
                &vars.variables()["net.levels.1.groups.0.posterior.expand.weight"].grad();
            let [elbo, reconstruction, kl] = [1, 2, 3].map(|i| loss.scalars[i].1.double_value(&[]));
            assert!((reconstruction + kl - elbo).abs() < 1e-5);
            (loss.total.double_value(&[]), elbo, kl, gradient.copy())
        };
        let plain = VaeConfig { free_bits: 0.0, ..Vae::tiny() };
        let (total, elbo, kl, gradient) = measure(plain.clone(), 1.0);
        assert!((total - elbo).abs() < 1e-5, "{total} is not the ELBO {elbo}");
        let free = VaeConfig { free_bits: 1000.0, ..Vae::tiny() };
        let heavy = VaeConfig { beta: 3.0, ..plain.clone() };
        let half = plain.kl_warmup / 2.0;
        for (config, progress, want) in [
            (free, 1.0, elbo - kl + 4.0 * 1000.0 / 64.0),
            (heavy, 1.0, elbo + 2.0 * kl),
            (plain, half, elbo - kl / 2.0),
        ] {
            let (total, same_elbo, _, other) = measure(config, progress);
            assert!((same_elbo - elbo).abs() < 1e-6);
            assert!((total - want).abs() < 1e-4 * want, "{total} is not {want}");
            assert!(!other.allclose(&gradient, 1e-3, 1e-9, false));
        }
    }
}
