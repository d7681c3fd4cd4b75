//! A family that is small and right, unless it is told to have a flaw: every pixel a logistic distribution around a mean
//! that depends on class, caption and known pixels.
//!
//! Its likelihood is exact, its latents are the standardized pixels, and it offers every capability there is.

use paragone_core::{
    Batch, Conditions, DataSpec, Edit, Error, Fact, Family, Generator, Inpaint, Lacks, Latents,
    Likelihood, LikelihoodKind, LikelihoodMethod, Loss, Noise, Noising, Offer, OnStep,
    OptimizerConfig, Phase, Progress, Result, SampleRequest, StepContext,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use tch::{Device, Kind, Tensor, nn};

/// What is wrong with the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    RefusesColour,
    OptionBreaksLoss,
    SamplingKeySizesWeights,
    SamplingKeyScalesLoss,
    CostsFall,
    SamplingKeyScalesNats,
    NeedsGray,
    NeedsClasses,
    NeedsNoText,
    NeedsNoKnownPixels,
    NeedsSquares,
    ParameterOfNoPhase,
    UnusedParameter,
    CallsBackward,
    NoSignal,
    LossInDoubles,
    OwnChance,
    BatchStatistics,
    SumOverImages,
    NoAutocast,
    StateOfItsOwn,
    TensorOfItsOwn,
    FactIsNan,
    LacksWithoutReason,
    NoiseForgetsTime,
    SamplesAreNoise,
    ForgetsClass,
    ForgetsCaption,
    ForgetsKnownPixels,
    NoneIsClassOne,
    Unclamped,
    IgnoresSeeds,
    DrawsFromLibtorch,
    SamplingTrains,
    CountsFromZero,
    WatchingDisturbs,
    GoesOn,
    IgnoresGuidance,
    IgnoresUnwanted,
    TemperatureWidens,
    TakesAnyKnob,
    NatsInFloats,
    EveryImageIsAsLikely,
    ForgetsTails,
    ForgetsHalfThePixels,
    LatentsInDoubles,
    EncodesNothing,
    LatentsTooWide,
    TouchesKnownPixels,
    EditsAtNoStrength,
    EditsBeyondTheMask,
    DeniesReading,
}

thread_local! {
    static FLAW: Cell<Flaw> = const { Cell::new(Flaw::None) };
    /// Randomness that nobody seeds.
    static OWN_CHANCE: Cell<u64> = const { Cell::new(0) };
}

/// Runs an action in which toys have a flaw.
pub fn with_flaw<T>(flaw: Flaw, action: impl FnOnce() -> T) -> T {
    FLAW.set(flaw);
    let result = action();
    FLAW.set(Flaw::None);
    result
}

fn has(flaw: Flaw) -> bool {
    FLAW.get() == flaw
}

fn own_chance() -> u64 {
    OWN_CHANCE.set(OWN_CHANCE.get() + 1);
    OWN_CHANCE.get()
}

/// The family.
#[derive(Debug)]
pub struct Toy;

/// Options of the toy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToyConfig {
    /// What the logarithm of every scale begins at.
    log_scale: f64,
    /// How a sample is refined.
    sampler: ToySampler,
}

/// How a sample is refined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToySampler {
    /// Network calls of a sample.
    steps: u64,
}

impl Default for ToyConfig {
    fn default() -> Self {
        Self { log_scale: -1.0, sampler: ToySampler::default() }
    }
}

impl Default for ToySampler {
    fn default() -> Self {
        Self { steps: 3 }
    }
}

impl Family for Toy {
    const NAME: &'static str = "toy";
    type Config = ToyConfig;
    const SAMPLING_KEYS: &'static [&'static str] = &["sampler"];

    fn tiny() -> ToyConfig {
        ToyConfig::default()
    }

    fn sampling_costs(config: &ToyConfig) -> Vec<ToyConfig> {
        let steps = if has(Flaw::CostsFall) { [5, 2] } else { [2, 5] };
        let with = |steps| {
            let mut config = config.clone();
            config.sampler.steps = steps;
            config
        };
        steps.map(with).to_vec()
    }

    fn likelihood_config(config: &ToyConfig) -> ToyConfig {
        ToyConfig { sampler: ToySampler::default(), ..config.clone() }
    }

    fn validate(config: &ToyConfig, data: &DataSpec) -> Result<()> {
        if config.sampler.steps == 0 {
            return Err(Error::invalid("sampler.steps", 0, "must be at least 1"));
        }
        if has(Flaw::RefusesColour) && data.shape.channels > 1 {
            return Err(Error::invalid("log_scale", config.log_scale, "is for gray images only"));
        }
        Ok(())
    }

    fn build(config: &ToyConfig, data: &DataSpec, vars: nn::Path) -> Result<Box<dyn Generator>> {
        assert!(!has(Flaw::NeedsGray) || data.shape.channels == 1);
        assert!(!has(Flaw::NeedsClasses) || data.num_classes > 0);
        assert!(!has(Flaw::NeedsNoText) || data.text.is_none());
        assert!(!has(Flaw::NeedsNoKnownPixels) || !data.known_pixels);
        assert!(!has(Flaw::NeedsSquares) || data.shape.height == data.shape.width);
        let numel = data.shape.numel();
        let net = &vars / "net";
        let small = nn::Init::Randn { mean: 0.0, stdev: 0.1 };
        if has(Flaw::ParameterOfNoPhase) {
            let _ = vars.var("stray", &[1], small);
        }
        if has(Flaw::UnusedParameter) {
            let _ = net.var("unused", &[1], small);
        }
        if has(Flaw::SamplingKeySizesWeights) {
            let _ = net.var("steps", &[config.sampler.steps as i64], small);
        }
        let vocab_size = data.text.as_ref().map(|text| text.vocab_size);
        Ok(Box::new(ToyModel {
            config: config.clone(),
            data: data.clone(),
            classes: net.var("classes", &[data.num_classes + 1, numel], small),
            words: vocab_size.map(|size| net.var("words", &[size, numel], small)),
            known: data.known_pixels.then(|| net.var("known", &[numel, numel], small)),
            log_scale: net.var("log_scale", &[numel], nn::Init::Const(config.log_scale)),
            steps: net.zeros_no_train("steps_made", &[1]),
            own_steps: Cell::new(0),
            own_tensor: Tensor::randn([numel], (Kind::Float, Device::Cpu)),
        }))
    }
}

#[derive(Debug)]
struct ToyModel {
    config: ToyConfig,
    data: DataSpec,
    /// `[num_classes + 1, chw]`.
    classes: Tensor,
    /// `[vocab_size, chw]`.
    words: Option<Tensor>,
    /// `[chw, chw]`: how every known pixel moves every mean.
    known: Option<Tensor>,
    /// `[chw]`.
    log_scale: Tensor,
    /// A buffer, to see that buffers are kept.
    steps: Tensor,
    own_steps: Cell<u64>,
    own_tensor: Tensor,
}

/// Half the distance of two levels.
const HALF: f64 = 1.0 / 255.0;

impl ToyModel {
    /// Means of all pixels, f32 `[n, chw]`.
    fn means(&self, conditions: &Conditions) -> Tensor {
        let class = match FLAW.get() {
            Flaw::ForgetsClass => conditions.class.zeros_like(),
            Flaw::NoneIsClassOne => {
                let none = conditions.class.eq(self.data.null_class());
                conditions.class.masked_fill(&none, 1)
            }
            _ => conditions.class.shallow_clone(),
        };
        // Products, so that autocast has something to do.
        let means = class.one_hot(self.data.num_classes + 1).to_kind(Kind::Float);
        let mut means = if has(Flaw::NoAutocast) {
            self.classes.index_select(0, &class)
        } else {
            means.matmul(&self.classes).to_kind(Kind::Float)
        };
        if let (Some(words), false) = (&self.words, has(Flaw::ForgetsCaption)) {
            let counts =
                conditions.tokens.one_hot(words.size()[0]).sum_dim_intlist(1, false, Kind::Float);
            means += counts.matmul(words).to_kind(Kind::Float);
        }
        if let (Some(weights), false) = (&self.known, has(Flaw::ForgetsKnownPixels)) {
            let known = conditions.known.as_ref().expect("known pixels, be it none");
            means += known.filled(0.0).flatten(1, -1).matmul(weights).to_kind(Kind::Float);
        }
        means
    }

    fn scales(&self) -> Tensor {
        self.log_scale.clamp(-6.0, 2.0).exp()
    }

    /// Negative log-probability of every pixel's level, `[n, chw]`: a logistic distribution whose ends take its tails.
    fn pixel_nats(&self, batch: &Batch) -> Tensor {
        let x = batch.images.flatten(1, -1);
        let (means, scales) = (self.means(&batch.conditions), self.scales());
        let cdf = |x: Tensor| ((x - &means) / &scales).to_kind(Kind::Double).sigmoid();
        let (mut above, mut below) = (cdf(&x + HALF), cdf(&x - HALF));
        if !has(Flaw::ForgetsTails) {
            above = above.masked_fill(&x.ge(1.0 - HALF), 1.0);
            below = below.masked_fill(&x.le(-1.0 + HALF), 0.0);
        }
        -(above - below).clamp_min(1e-12).log()
    }

    fn image(&self, flat: &Tensor) -> Tensor {
        let flat = if has(Flaw::Unclamped) { flat * 1.5 } else { flat.clamp(-1.0, 1.0) };
        flat.view([-1, self.data.shape.channels, self.data.shape.height, self.data.shape.width])
    }

    /// Standard logistic numbers to images.
    fn image_from(&self, z: &Tensor, request: &SampleRequest) -> Tensor {
        let asked = self.means(request.conditions);
        let means = if request.guidance_scale == 1.0 || has(Flaw::IgnoresGuidance) {
            asked
        } else {
            let unasked = self.means(&match has(Flaw::IgnoresUnwanted) {
                true => request.conditions.unprompted(&self.data),
                false => request.unwanted(&self.data),
            });
            &unasked + (asked - &unasked) * request.guidance_scale
        };
        let temperature = match has(Flaw::TemperatureWidens) {
            true => 1.0 / request.temperature,
            false => request.temperature,
        };
        self.image(&(means + z * self.scales() * temperature))
    }

    /// Standard logistic numbers of a request, f32 `[n, chw]`.
    fn logistic(&self, noise: &Noise) -> Tensor {
        let noise = match FLAW.get() {
            Flaw::IgnoresSeeds => Noise::new(vec![0; noise.seeds.len()], noise.device),
            Flaw::OwnChance => noise.fork(own_chance()),
            _ => noise.clone(),
        };
        let u = noise.uniform(0, &[self.data.shape.numel()]);
        let z: Tensor = (&u / (1.0f64 - &u)).log();
        if has(Flaw::BatchStatistics) { z.mean_dim(0, true, Kind::Float) - z } else { z }
    }

    /// Reports the calls of a sampler that has its picture at the first.
    fn report(&self, images: &Tensor, on_step: &mut dyn OnStep) -> Result<()> {
        let calls = self.config.sampler.steps;
        for call in 1..=calls {
            let call = if has(Flaw::CountsFromZero) { call - 1 } else { call };
            let picture = || {
                if has(Flaw::WatchingDisturbs) {
                    self.own_steps.set(self.own_steps.get() + 1);
                }
                self.image(&images.flatten(1, -1))
            };
            let told = on_step.step(Progress { call, calls, images: &picture });
            if !has(Flaw::GoesOn) {
                told?;
            }
        }
        Ok(())
    }
}

impl Generator for ToyModel {
    fn phases(&self) -> Vec<Phase> {
        let optimizer = OptimizerConfig { lr: 2e-2, ..OptimizerConfig::default() };
        vec![Phase { name: "likelihood", parameters: &["net"], every: 1, optimizer }]
    }

    fn loss(&self, _: &Phase, batch: &Batch, _: &StepContext) -> Result<Loss> {
        assert!(!has(Flaw::OptionBreaksLoss) || self.config.log_scale == -1.0);
        let nats = self.pixel_nats(batch).mean_dim(1, false, Kind::Float); // [n]
        let mut total = match FLAW.get() {
            Flaw::SumOverImages => nats.sum(Kind::Float),
            Flaw::BatchStatistics => nats.std(false) + nats.mean(Kind::Float),
            Flaw::NoSignal => nats.mean(Kind::Float) * 0.0,
            Flaw::OwnChance => nats.mean(Kind::Float) * (1.0 + own_chance() as f64 / 100.0),
            Flaw::StateOfItsOwn => nats.mean(Kind::Float) * (1.0 + self.own_steps.get() as f64),
            Flaw::SamplingKeyScalesLoss => {
                nats.mean(Kind::Float) * self.config.sampler.steps as f64
            }
            _ => nats.mean(Kind::Float),
        };
        if has(Flaw::CallsBackward) {
            nats.mean(Kind::Float).backward();
        }
        if has(Flaw::LossInDoubles) {
            total = total.to_kind(Kind::Double);
        }
        Ok(Loss::new(total))
    }

    fn after_step(&self, _: &Phase, _: &Loss, _: &StepContext) -> Result<()> {
        let _ = self.steps.shallow_clone().g_add_scalar_(1.0);
        self.own_steps.set(self.own_steps.get() + 1);
        Ok(())
    }

    fn sample(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        if !has(Flaw::TakesAnyKnob) {
            request.check()?;
        }
        let z = self.logistic(request.noise);
        let mut images = self.image_from(&z, request);
        match FLAW.get() {
            Flaw::SamplesAreNoise => images = self.image(&z),
            Flaw::DrawsFromLibtorch => {
                let _ = Tensor::rand([1], (Kind::Float, Device::Cpu));
            }
            Flaw::SamplingTrains => {
                let _ = self.log_scale.shallow_clone().g_add_scalar_(0.1);
            }
            Flaw::TensorOfItsOwn => images += self.image(&self.own_tensor),
            Flaw::WatchingDisturbs => self.own_steps.set(0),
            _ => {}
        }
        self.report(&images, on_step)?;
        if has(Flaw::WatchingDisturbs) {
            images *= 1.0 / (1.0 + self.own_steps.get() as f64);
        }
        Ok(images)
    }

    fn facts(&self) -> Vec<Fact> {
        let value = if has(Flaw::FactIsNan) { f64::NAN } else { self.data.shape.numel() as f64 };
        vec![Fact { name: "pixels", value, meaning: "numbers in an image" }]
    }

    fn likelihood(&self) -> Offer<'_, dyn Likelihood> {
        if has(Flaw::LacksWithoutReason) { Err(Lacks("none.")) } else { Ok(self) }
    }

    fn latents(&self) -> Offer<'_, dyn Latents> {
        Ok(self)
    }

    fn noising(&self) -> Offer<'_, dyn Noising> {
        Ok(self)
    }

    fn inpaint(&self) -> Offer<'_, dyn Inpaint> {
        Ok(self)
    }

    fn edit(&self) -> Offer<'_, dyn Edit> {
        Ok(self)
    }
}

impl Likelihood for ToyModel {
    fn methods(&self) -> Vec<LikelihoodMethod> {
        let name = "exact".to_owned();
        vec![LikelihoodMethod { name, kind: LikelihoodKind::Exact, draws: 0, passes: 1 }]
    }

    fn nats(
        &self,
        _: &LikelihoodMethod,
        batch: &Batch,
        _: &Noise,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        let mut pixels = self.pixel_nats(batch);
        match FLAW.get() {
            Flaw::BatchStatistics => pixels = &pixels - pixels.mean_dim(0, true, Kind::Double),
            Flaw::EveryImageIsAsLikely => pixels = pixels.zeros_like() + 1.0,
            Flaw::ForgetsHalfThePixels => pixels *= 0.5,
            Flaw::SamplingKeyScalesNats => pixels *= self.config.sampler.steps as f64,
            _ => {}
        }
        self.report(&batch.images, on_step)?;
        let nats = pixels.sum_dim_intlist(1, false, Kind::Double);
        Ok(if has(Flaw::NatsInFloats) { nats.to_kind(Kind::Float) } else { nats })
    }
}

impl Latents for ToyModel {
    fn latent_dim(&self) -> i64 {
        self.data.shape.numel()
    }

    /// Standardized pixels; logistic rather than normal, which is near enough for a toy: divided by π / √3.
    fn encode(&self, batch: &Batch, _: &Noise, on_step: &mut dyn OnStep) -> Result<Tensor> {
        let z = (batch.images.flatten(1, -1) - self.means(&batch.conditions)) / self.scales();
        self.report(&batch.images, on_step)?;
        let z = z / LOGISTIC_DEVIATION;
        Ok(match FLAW.get() {
            Flaw::LatentsInDoubles => z.to_kind(Kind::Double),
            Flaw::BatchStatistics => &z - z.mean_dim(0, true, Kind::Float),
            Flaw::EncodesNothing => z.zeros_like(),
            _ => z,
        })
    }

    fn decode(&self, z: &Tensor, request: &SampleRequest) -> Result<Tensor> {
        let wide = if has(Flaw::LatentsTooWide) { 8.0 } else { 1.0 };
        Ok(self.image_from(&(z * LOGISTIC_DEVIATION * wide), request))
    }
}

/// π / √3: standard deviation of the standard logistic distribution.
const LOGISTIC_DEVIATION: f64 = 1.813_799_364_234_217_8;

impl Noising for ToyModel {
    fn noised(&self, images: &Tensor, time: f64, noise: &Noise) -> Result<Tensor> {
        let time = if has(Flaw::NoiseForgetsTime) { 0.5 } else { time };
        let eps = noise.normal(0, &self.data.shape.dims());
        Ok((images * (1.0 - time) + eps * time).clamp(-1.0, 1.0))
    }
}

impl Inpaint for ToyModel {
    fn method(&self) -> String {
        "the mean image".to_owned()
    }

    fn inpaint(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        let known = request.conditions.known.as_ref();
        let known = known.ok_or_else(|| Error::Unsupported("nothing is known".into()))?;
        let made = self.sample(request, on_step)?;
        if has(Flaw::TouchesKnownPixels) {
            return Ok(made);
        }
        Ok(known.over(&made))
    }
}

impl Edit for ToyModel {
    fn method(&self) -> String {
        "a mean of images".to_owned()
    }

    fn reads_source(&self) -> bool {
        !has(Flaw::DeniesReading)
    }

    fn edit(
        &self,
        source: &Batch,
        request: &SampleRequest,
        strength: f64,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        let strength = if has(Flaw::EditsAtNoStrength) { 1.0 } else { strength };
        let shift = self.means(request.conditions) - self.means(&source.conditions);
        let edited = self.image(&(source.images.flatten(1, -1) + shift * strength));
        self.report(&edited, on_step)?;
        Ok(match has(Flaw::EditsBeyondTheMask) {
            true => edited,
            false => source.kept(request.conditions, edited),
        })
    }
}
