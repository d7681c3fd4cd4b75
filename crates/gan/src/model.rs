//! The two networks as one generator of images: phases, losses and sampling.

use crate::{
    GanConfig, PenaltyKind,
    augment::Augment,
    discriminator::{self, DiscriminatorNet},
    generator::GeneratorNet,
    penalty,
};
use paragone_core::{
    Batch, Conditions, DataSpec, Edit, Error, Fact, Generator, Inpaint, Known, Latents, Loss,
    Offer, OnStep, OptimizerConfig, Phase, Progress, Result, SampleRequest, Schedule, StepContext,
};
use tch::{Kind, Tensor, nn::Path};

const DISCRIMINATOR: &str = "discriminator";
const GENERATOR: &str = "generator";

/// A generator, its discriminator and the augmentation between them.
#[derive(Debug)]
pub struct Model {
    pub(crate) config: GanConfig,
    pub(crate) data: DataSpec,
    pub(crate) generator: GeneratorNet,
    pub(crate) discriminator: DiscriminatorNet,
    augment: Augment,
}

impl Model {
    pub fn new(config: &GanConfig, data: &DataSpec, vars: &Path) -> Self {
        let discriminator = vars / DISCRIMINATOR;
        Self {
            config: config.clone(),
            data: data.clone(),
            generator: GeneratorNet::new(
                &(vars / GENERATOR),
                &config.generator,
                config.latent_dim,
                data,
            ),
            discriminator: DiscriminatorNet::new(&discriminator, &config.discriminator, data),
            augment: Augment::new(&discriminator, &config.augment, data.shape),
        }
    }

    /// New images.
    pub(crate) fn draw(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        let draw = self.generator.draw_from(request.noise, request.temperature);
        let images = self.generator.images(&draw, request.conditions);
        on_step.step(Progress { call: 1, calls: 1, images: &|| images.shallow_clone() })?;
        Ok(images)
    }

    /// The discriminator's loss on real images and generated ones, row by row under the same conditions.
    ///
    /// `loss` among the scalars is the game's own; penalties, in steps that have them, stand beside it.
    pub(crate) fn discriminator_loss(
        &self,
        batch: &Batch,
        fake: &Tensor,
        step: &StepContext,
    ) -> Result<Loss> {
        let config = &self.config;
        let n = batch.len();
        let penalty = if step.step.is_multiple_of(config.penalty_every) {
            config.penalty()
        } else {
            PenaltyKind::None
        };
        let zero_centred = matches!(penalty, PenaltyKind::R1 | PenaltyKind::R1R2);
        // One pass over real and generated images together; no layer mixes rows.
        let images =
            Tensor::cat(&[&batch.images, fake], 0).detach().set_requires_grad(zero_centred);
        let condition = self.discriminator.embed(&batch.conditions);
        let mask = mask(&batch.conditions);
        let masks = mask.map(|mask| mask.repeat([2, 1, 1, 1]));
        let features = self.see(&images, masks.as_ref());
        let logits = discriminator::logits(&features, &condition.repeat([2, 1]));
        let (real, fake_logits) = (logits.narrow(0, 0, n), logits.narrow(0, n, n));
        let mut game = config.loss.discriminator(&real, &fake_logits).mean(Kind::Float);
        if config.mismatched > 0.0 {
            // [n, n]: an image's row under every condition's column.
            let every = discriminator::logits(
                &features.narrow(0, 0, n).unsqueeze(1),
                &condition.unsqueeze(0),
            );
            let own = Tensor::arange(n, (Kind::Int64, every.device()));
            game += every.cross_entropy_for_logits(&own) * config.mismatched;
        }
        let mut scalars = vec![
            ("loss", game.detach()),
            ("real_minus_fake", (&real - &fake_logits).mean(Kind::Float).detach()),
        ];
        let weighted = match penalty {
            PenaltyKind::None => None,
            PenaltyKind::R1 | PenaltyKind::R1R2 => {
                // R1 alone leaves the second half's gradients out of the sum that is differentiated.
                let judged = if penalty == PenaltyKind::R1 { &real } else { &logits };
                let norms = penalty::squared_gradient_norms(judged, &images)?; // [2n]
                let half = |start| norms.narrow(0, start, n).mean(Kind::Float);
                let (r1, r2) = (half(0), half(n));
                scalars.push(("r1", r1.detach()));
                if penalty == PenaltyKind::R1R2 {
                    scalars.push(("r2", r2.detach()));
                }
                Some((r1 + r2) * (config.gamma_at(step.progress) / 2.0))
            }
            PenaltyKind::Interpolates => {
                let points = penalty::interpolates(&batch.images, fake);
                let logits = self.judge(&points, &condition, mask);
                let distance = penalty::one_centred(&logits, &points)?.mean(Kind::Float);
                scalars.push(("gradient_penalty", distance.detach()));
                Some(distance * config.gradient_penalty)
            }
        };
        let total = match weighted {
            Some(penalty) => game + penalty * config.penalty_every as f64,
            None => game,
        };
        let statistics = self.verdicts(&real.detach(), &fake_logits.detach());
        Ok(Loss { total, scalars, statistics })
    }

    /// The generator's loss. `fake` carries its graph; the discriminator's parameters are taken as they are.
    pub(crate) fn generator_loss(&self, batch: &Batch, fake: &Tensor) -> Loss {
        let condition = tch::no_grad(|| self.discriminator.embed(&batch.conditions));
        let mask = mask(&batch.conditions);
        let real = || tch::no_grad(|| self.judge(&batch.images, &condition, mask));
        let losses = self.config.loss.generator(real, &self.judge(fake, &condition, mask));
        Loss::new(losses.mean(Kind::Float))
    }

    /// Logits of augmented images; `mask`, `[n, 1, h, w]`, says which of their pixels were known.
    fn judge(&self, images: &Tensor, condition: &Tensor, mask: Option<&Tensor>) -> Tensor {
        discriminator::logits(&self.see(images, mask), condition)
    }

    /// What the discriminator sees in augmented images.
    fn see(&self, images: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let seen = match mask {
            Some(mask) => Tensor::cat(&[images, mask], 1),
            None => images.shallow_clone(),
        };
        self.discriminator.features(&self.augment.apply(&seen))
    }

    /// What the adaptive augmentation wants to know: the sum of the verdicts' signs, and the number of images.
    fn verdicts(&self, real: &Tensor, fake: &Tensor) -> Vec<Tensor> {
        if self.config.augment.target.is_none() {
            return Vec::new();
        }
        let verdicts =
            if self.config.loss.is_paired() { real - fake } else { real.shallow_clone() };
        let signs = verdicts.sign().to_kind(Kind::Float);
        vec![signs.sum(Kind::Float), signs.ones_like().sum(Kind::Float)]
    }
}

impl Generator for Model {
    fn phases(&self) -> Vec<Phase> {
        let optimizer = OptimizerConfig {
            lr: 2e-3,
            // Huang et al. 2024: no momentum, which chases the other network's last move.
            betas: [0.0, 0.99],
            weight_decay: 0.0,
            // Norms are about 1 to 4, but tens at the start and in rare explosions, which without momentum are whole steps.
            clip: Some(3.0),
            skip_above: None,
            warmup: 0.02,
            schedule: Schedule::Cosine,
            final_lr: 0.05,
        };
        let discriminator =
            Phase { name: DISCRIMINATOR, parameters: &[DISCRIMINATOR], every: 1, optimizer };
        let generator = Phase {
            name: GENERATOR,
            parameters: &[GENERATOR],
            every: self.config.generator_every,
            optimizer,
        };
        vec![discriminator, generator]
    }

    fn loss(&self, phase: &Phase, batch: &Batch, step: &StepContext) -> Result<Loss> {
        let draw = self.generator.draw(batch.len(), batch.images.device());
        let make = || {
            let fake = self.generator.forward(&draw, &batch.conditions);
            // The game is about completed images: known pixels are the real ones in both.
            match &batch.conditions.known {
                Some(known) => known.over(&fake),
                None => fake,
            }
        };
        match phase.name {
            DISCRIMINATOR => self.discriminator_loss(batch, &tch::no_grad(make), step),
            GENERATOR => Ok(self.generator_loss(batch, &make())),
            other => unreachable!("a GAN has no phase {other:?}"),
        }
    }

    /// Only every so many steps have the penalty.
    fn loss_cycle(&self) -> u64 {
        match self.config.penalty() {
            PenaltyKind::None => 1,
            _ => self.config.penalty_every,
        }
    }

    fn after_step(&self, _phase: &Phase, loss: &Loss, _step: &StepContext) -> Result<()> {
        if let [verdicts, images] = loss.statistics.as_slice() {
            tch::no_grad(|| self.augment.adapt(verdicts, images));
        }
        Ok(())
    }

    /// One network call. `temperature` scales the latent and the pixel noise: below 1 the images are more typical and
    /// less diverse, as under truncation, without truncation's cut.
    fn sample(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        request.check()?;
        refuse_guidance(request)?;
        self.draw(request, on_step)
    }

    fn facts(&self) -> Vec<Fact> {
        vec![Fact {
            name: "latent_dim",
            value: self.config.latent_dim as f64,
            meaning: "numbers in a latent, standard normal",
        }]
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

/// Which pixels are known, for a model that is shown known pixels.
fn mask(conditions: &Conditions) -> Option<&Tensor> {
    conditions.known.as_ref().map(|Known { mask, .. }| mask)
}

/// Guidance mixes a conditional and an unconditional score or distribution; a GAN's generator defines neither, and to
/// extrapolate between two images of the same latent is no established practice.
pub(crate) fn refuse_guidance(request: &SampleRequest) -> Result<()> {
    if request.guidance_scale == 1.0 {
        return Ok(());
    }
    let reason = format!(
        "guidance_scale is {}, but a gan has neither scores nor probabilities to guide: it must be 1",
        request.guidance_scale
    );
    Err(Error::Unsupported(reason))
}
