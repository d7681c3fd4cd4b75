//! The sections `train` and `eval`: what all models of an experiment share.

use super::{
    choice::{Budget, Interval},
    features::Features,
    rules::{Violation, at_least, distinct, hold, number, positive, share},
};
use paragone_data::{EditKind, MaskKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

/// How every model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Images in one optimiser step.
    pub batch_size: u64,
    /// Training that each model gets; exactly one of `images`, `seconds`, `flops`.
    pub budget: Budget,
    /// Arithmetic of the forward and backward pass; weights and sampling stay in f32.
    pub precision: Precision,
    /// The moving average of the weights that samples are drawn from.
    pub ema: EmaConfig,
    /// Micro-batches that a batch is cut into to save memory; must divide the batch size.
    pub accumulate: u64,
    /// Time between checkpoints, as a share of the budget or in seconds.
    pub checkpoint_every: Interval,
    /// Latest checkpoints to keep.
    pub keep_checkpoints: u64,
    /// Averaged weights kept on the way: after a half, a quarter, an eighth of the budget and so on, so many times. Scores
    /// against training time come from them.
    pub snapshots: u64,
    /// Optimiser steps between logged ones.
    pub log_every: u64,
    /// Time between sample grids, as a share of the budget or in seconds.
    pub sample_every: Interval,
    /// Threads that libtorch trains with; by default one for each core, shared out among `jobs`.
    pub threads: Option<u64>,
    /// Models that train at the same time. Small networks use several cores better side by side, one thread each, than
    /// one after the other on all of them.
    pub jobs: u64,
}

/// Number format of training arithmetic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 where the device computes in it, f32 where it would only round to it.
    #[default]
    Auto,
    /// 32-bit floating point throughout.
    F32,
    /// f32 of which a CUDA GPU multiplies the first ten bits of mantissa, several times as fast from Ampere on; f32 elsewhere.
    Tf32,
    /// bfloat16 under autocast, with f32 weights and losses. A processor that does not compute in it rounds to it, which gains no time.
    Bf16,
}

impl Precision {
    /// What experiments call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    /// What networks are cast to; none: they compute in the kind of their weights.
    pub fn autocast(self) -> Option<Kind> {
        (self == Self::Bf16).then_some(Kind::BFloat16)
    }

    /// Has CUDA multiply in TF32 as long as the guard lives, if that is what this is.
    pub fn tf32(self) -> Result<Option<torch_ext::Tf32>, torch_ext::Error> {
        (self == Self::Tf32).then(torch_ext::Tf32::allow).transpose()
    }

    /// What it comes to on a device: never [`Precision::Auto`].
    pub fn on(self, device: Device) -> Self {
        match self {
            Self::Auto if torch_ext::computes_in_bf16(device) => Self::Bf16,
            Self::Auto => Self::F32,
            Self::Tf32 if !device.is_cuda() => Self::F32,
            given => given,
        }
    }
}

/// Exponential moving average of the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmaConfig {
    /// Half-life as a share of the budget; 0 keeps no average and samples the weights themselves.
    pub half_life: f64,
    /// Early in training the half-life is at most this share of the images seen, so that the start is forgotten.
    pub rampup: f64,
}

/// How every model is scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Images drawn from each model.
    pub samples: u64,
    /// Images drawn or scored at once.
    pub batch_size: u64,
    /// Network whose features the scores compare.
    pub features: Features,
    /// Further networks in whose features the same scores are taken, so that a ranking that depends on features shows.
    pub other_features: Vec<Features>,
    /// Sampling seeds; every score is computed for each.
    pub seeds: Vec<u64>,
    /// Splits of the data that samples are compared with.
    pub reference: Vec<Reference>,
    /// Test images that likelihood is measured on, at most; a dear method may use fewer.
    pub likelihood_images: u64,
    /// Neighbours that precision and recall look at.
    pub precision_recall_k: u64,
    /// Neighbours that density and coverage look at.
    pub density_coverage_k: u64,
    /// Subsets that the kernel distance averages over.
    pub kernel_subsets: u64,
    /// Images in such a subset; at most `samples` are taken.
    pub kernel_subset_size: u64,
    /// Samples, the first ones, that are compared with their nearest training and test images; 0 looks for no memorization.
    pub memorization_samples: u64,
    /// Scores against training time and network calls, and fidelity against diversity.
    pub curves: CurvesConfig,
    /// Scores of filling holes.
    pub inpainting: InpaintingConfig,
    /// Scores of editing, for data whose edits have true targets and whose models are told what to draw.
    pub editing: EditingConfig,
}

/// Scores of filling holes in test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InpaintingConfig {
    /// Test images with each kind of hole; 0 fills none.
    pub images: u64,
    /// Kinds of holes; that of objects only for data that knows where they are.
    pub masks: Vec<MaskKind>,
    /// Completions of each hole.
    pub seeds: u64,
}

/// Scores of editing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EditingConfig {
    /// Pictures to edit in each way; 0 edits none.
    pub pairs: u64,
    /// Ways of editing.
    pub kinds: Vec<EditKind>,
    /// Strengths, each in (0, 1].
    pub strengths: Vec<f64>,
}

impl Default for InpaintingConfig {
    fn default() -> Self {
        Self { images: 0, masks: MaskKind::ALL.to_vec(), seeds: 2 }
    }
}

impl Default for EditingConfig {
    fn default() -> Self {
        let strengths = vec![0.2, 0.4, 0.6, 0.8, 1.0];
        Self { pairs: 0, kinds: EditKind::ALL.to_vec(), strengths }
    }
}

/// Scores of fewer images: along training, with other numbers of network calls, and under quality knobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CurvesConfig {
    /// Images behind each point, at most `eval.samples` and the test images; 0 draws no curves. Nor are there any where test
    /// images are the first reference: what these would score against themselves is no floor.
    pub samples: u64,
    /// Temperatures of the fidelity-diversity frontier, beside 1.
    pub temperatures: Vec<f64>,
    /// Guidance scales of the frontier, beside 1; only where images have conditions.
    pub guidance_scales: Vec<f64>,
}

/// A split of the data that samples are compared with.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// The images trained on.
    Train,
    /// Images held out of training to tune on.
    Validation,
    /// Images that nothing was tuned on.
    Test,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch_size: 128,
            budget: Budget::Seconds(600.0),
            precision: Precision::Auto,
            ema: EmaConfig::default(),
            accumulate: 1,
            checkpoint_every: Interval::Seconds(60.0),
            keep_checkpoints: 2,
            snapshots: 5,
            log_every: 20,
            sample_every: Interval::Share(0.1),
            threads: None,
            jobs: 1,
        }
    }
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self { half_life: 0.03, rampup: 0.05 }
    }
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            samples: 10_000,
            batch_size: 250,
            features: Features::Auto,
            other_features: vec![Features::RandomConv],
            seeds: vec![0],
            reference: vec![Reference::Train, Reference::Test],
            likelihood_images: 2_000,
            precision_recall_k: 3,
            density_coverage_k: 5,
            kernel_subsets: 100,
            kernel_subset_size: 1_000,
            memorization_samples: 2_000,
            curves: CurvesConfig::default(),
            inpainting: InpaintingConfig::default(),
            editing: EditingConfig::default(),
        }
    }
}

impl Default for CurvesConfig {
    fn default() -> Self {
        Self { samples: 1_000, temperatures: vec![0.7, 0.85], guidance_scales: vec![1.5, 2.0, 3.0] }
    }
}

/// Threads beyond which a number is a slip, not a wish.
pub const MAX_THREADS: u64 = 1024;

impl TrainConfig {
    /// Threads of one training: those asked for, or, of several trainings at a time, each one's share of the cores. None:
    /// as many as libtorch sees fit.
    pub fn threads(&self) -> Option<u64> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let share = (self.jobs > 1).then(|| (cores / self.jobs).max(1));
        self.threads.or(share)
    }

    pub(super) fn check(&self) -> Result<(), Violation> {
        at_least(1, "batch_size", self.batch_size)?;
        match self.budget {
            Budget::Images(images) => at_least(1, "budget.images", images),
            Budget::Seconds(seconds) => positive("budget.seconds", seconds),
            Budget::Flops(flops) => positive("budget.flops", flops),
        }?;
        share("ema.half_life", self.ema.half_life)?;
        share("ema.rampup", self.ema.rampup)?;
        at_least(1, "accumulate", self.accumulate)?;
        hold(
            self.batch_size.is_multiple_of(self.accumulate),
            "accumulate",
            self.accumulate,
            || format!("must divide the batch size, {}", self.batch_size),
        )?;
        interval("checkpoint_every", self.checkpoint_every)?;
        at_least(1, "keep_checkpoints", self.keep_checkpoints)?;
        at_least(1, "log_every", self.log_every)?;
        interval("sample_every", self.sample_every)?;
        at_least(1, "jobs", self.jobs)?;
        let Some(threads) = self.threads else { return Ok(()) };
        hold((1..=MAX_THREADS).contains(&threads), "threads", threads, || {
            format!("must be from 1 to {MAX_THREADS}")
        })
    }
}

fn interval(key: &str, interval: Interval) -> Result<(), Violation> {
    match interval {
        Interval::Seconds(seconds) => positive(&format!("{key}.seconds"), seconds),
        Interval::Share(value) => share_above_zero(&format!("{key}.share"), value),
    }
}

fn share_above_zero(key: &str, value: f64) -> Result<(), Violation> {
    number(key, value, |v| v > 0.0 && v <= 1.0, "must be above 0 and at most 1")
}

impl EvalConfig {
    pub(super) fn check(&self) -> Result<(), Violation> {
        // A Fréchet distance is extrapolated from three sizes.
        at_least(3, "samples", self.samples)?;
        at_least(1, "batch_size", self.batch_size)?;
        self.features.check("features")?;
        for (i, features) in self.other_features.iter().enumerate() {
            features.check(&format!("other_features.{i}"))?;
        }
        distinct("seeds", &self.seeds)?;
        distinct("reference", &self.reference)?;
        at_least(1, "likelihood_images", self.likelihood_images)?;
        at_least(1, "precision_recall_k", self.precision_recall_k)?;
        at_least(1, "density_coverage_k", self.density_coverage_k)?;
        at_least(1, "kernel_subsets", self.kernel_subsets)?;
        at_least(2, "kernel_subset_size", self.kernel_subset_size)?;
        let (points, k) = (self.curves.samples, self.precision_recall_k);
        hold(points == 0 || points > k, "curves.samples", points, || {
            format!("must be 0, for no curves, or above {k}, which precision_recall_k is")
        })?;
        for &temperature in &self.curves.temperatures {
            positive("curves.temperatures", temperature)?;
        }
        let finite =
            |&scale: &f64| number("curves.guidance_scales", scale, |_| true, "must be a number");
        self.curves.guidance_scales.iter().try_for_each(finite)?;
        if self.inpainting.images > 0 {
            distinct("inpainting.masks", &self.inpainting.masks)?;
            at_least(1, "inpainting.seeds", self.inpainting.seeds)?;
        }
        if self.editing.pairs > 0 {
            distinct("editing.kinds", &self.editing.kinds)?;
            distinct("editing.strengths", &self.editing.strengths)?;
        }
        let strength = |&strength| share_above_zero("editing.strengths", strength);
        self.editing.strengths.iter().try_for_each(strength)
    }
}
