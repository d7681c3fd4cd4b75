//! Filling holes: test images with parts hidden, completed by a model or by a baseline.

use super::{References, samples::image_seeds, truth::Known as KnownDistribution};
use crate::{
    config::InpaintingConfig,
    data::RunData,
    draw::{Drawing, Task},
    interrupt,
    log::Reporter,
    prompts::Prompts,
    trained::Trained,
};
use anyhow::Result;
use paragone_core::{Conditions, Known, from_levels, mix};
use paragone_data::MaskKind;
use paragone_metrics::{mean_image, pooled_psnr, pooled_psnr_of_mean, ssim};
use paragone_report::{HoleScores, InpaintingScores};
use tch::{Device, Kind, Tensor};

/// Test images with holes of one kind.
#[derive(Debug)]
pub struct Holes {
    /// The kind.
    pub kind: MaskKind,
    /// u8 `[n, c, h, w]`.
    pub originals: Tensor,
    /// What is left of them, on the host.
    pub known: Known,
    /// What models are told of the whole images, on the host, and what a judge looks for.
    pub prompts: Prompts,
}

impl Holes {
    /// The first `n` test images with holes of each kind that suits the data: that of objects only where they are known.
    pub fn all(kinds: &[MaskKind], data: &RunData, n: u64) -> Result<Vec<Self>> {
        let test = data.test()?;
        let n = (n as i64).min(test.len());
        let rows = Tensor::arange(n, (Kind::Int64, Device::Cpu));
        let originals = test.images.narrow(0, 0, n);
        let seeds: Vec<u64> = (0..n as u64).map(|i| mix(&[SEED, i])).collect();
        let of_kind = |&kind: &MaskKind| {
            let mask = kind.masks(test, &rows, &seeds)?;
            let known = Known { pixels: from_levels(&originals), mask };
            let prompts = Prompts::of_rows(test, &rows, &data.spec);
            Some(Self { kind, originals: originals.shallow_clone(), known, prompts })
        };
        Ok(kinds.iter().filter_map(of_kind).collect())
    }

    /// What a model is given: what is known of the images, and their known pixels.
    pub fn conditions(&self) -> Conditions {
        self.prompts.conditions.with_known(Some(self.known.shallow_clone()))
    }
}

/// What holes are filled with, and judged against.
#[derive(Debug)]
pub struct Inpainting<'a> {
    holes: Vec<Holes>,
    seeds: u64,
    /// Kinds that training showed.
    shown: &'a [MaskKind],
    data: &'a RunData,
    references: &'a References,
    distribution: Option<&'a KnownDistribution>,
}

impl<'a> Inpainting<'a> {
    /// Holes in the first test images; `None` if none are asked for.
    pub fn new(
        config: &InpaintingConfig,
        shown: &'a [MaskKind],
        data: &'a RunData,
        references: &'a References,
        distribution: Option<&'a KnownDistribution>,
    ) -> Result<Option<Self>> {
        if config.images == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            holes: Holes::all(&config.masks, data, config.images)?,
            seeds: config.seeds.max(1),
            shown,
            data,
            references,
            distribution,
        }))
    }

    /// Scores of a model; `None` when the user asked to stop.
    pub fn score_model(
        &self,
        trained: &Trained,
        batch_size: u64,
        device: Device,
    ) -> Result<Option<InpaintingScores>> {
        let model = &*trained.model;
        let track = if trained.spec.known_pixels { "trained" } else { "zero-shot" };
        let method = match model.inpaint() {
            Ok(inpaint) => inpaint.method(),
            Err(lacks) => return Ok(Some(InpaintingScores::new(lacks.to_string(), track))),
        };
        let mut scores = InpaintingScores::new(method, track);
        let (mut seconds, mut images) = (0.0, 0);
        for holes in &self.holes {
            let conditions = holes.conditions();
            let total = conditions.len() as u64;
            let mut sets = Vec::new();
            for seed in 0..self.seeds {
                let title = format!("in-painting, {}", holes.kind.name());
                let mut reporter = Reporter::new(&title, "images", 0, total);
                let drawing = Drawing {
                    task: Task::Inpaint,
                    ..Drawing::new(&conditions, image_seeds(seed, 0, total), batch_size as usize)
                };
                let drawn = drawing.draw(model, device, Some(&mut reporter))?;
                reporter.finish();
                let Some(drawn) = drawn else { return Ok(None) };
                scores.network_calls = drawn.network_calls;
                seconds += drawn.seconds;
                images += total;
                sets.push(drawn.levels);
            }
            scores.masks.insert(holes.kind.name().to_owned(), self.score(holes, &sets)?);
        }
        scores.seconds_per_image = seconds / images.max(1) as f64;
        Ok(Some(scores))
    }

    /// Scores of the originals and of fillings that need no model; `None` when the user asked to stop.
    pub fn baselines(&self) -> Result<Option<Vec<(&'static str, InpaintingScores)>>> {
        let train = &self.data.train.images;
        let mean = mean_image(train, 1);
        type Filling<'a> = (&'static str, &'a str, &'a dyn Fn(&Holes) -> Tensor);
        let fillings: [Filling<'_>; 3] = [
            ("original", "the test images themselves", &|holes| holes.originals.shallow_clone()),
            ("mean_fill", "the mean training image", &|holes| fill(holes, &mean)),
            ("nearest_fill", "the training image nearest in the known pixels", &|holes| {
                fill(holes, &nearest(holes, train))
            }),
        ];
        let mut baselines = Vec::new();
        for (name, method, make) in fillings {
            let mut scores = InpaintingScores::new(method.to_owned(), "baseline");
            for holes in &self.holes {
                if interrupt::asked() {
                    return Ok(None);
                }
                let scored = self.score(holes, &[make(holes)])?;
                // No chance is in it.
                let scored = HoleScores { psnr_of_mean: Some(scored.psnr), ..scored };
                scores.masks.insert(holes.kind.name().to_owned(), scored);
            }
            baselines.push((name, scores));
        }
        Ok(Some(baselines))
    }

    /// Scores of completions, a set u8 `[n, c, h, w]` a seed.
    fn score(&self, holes: &Holes, sets: &[Tensor]) -> Result<HoleScores> {
        let hole = holes.known.mask.eq(0.0);
        let over_sets = |score: &dyn Fn(&Tensor) -> f64| {
            sets.iter().map(score).sum::<f64>() / sets.len() as f64
        };
        let mean = |values: &dyn Fn(&Tensor) -> Tensor| {
            over_sets(&|set| values(set).mean(Kind::Double).double_value(&[]))
        };
        // Means over the sets of what may be unknown.
        let mean_of = |score: &dyn Fn(&Tensor) -> Result<Option<f64>>| -> Result<Option<f64>> {
            let scores = sets.iter().map(score).collect::<Result<Option<Vec<f64>>>>()?;
            Ok(scores.map(|scores| scores.iter().sum::<f64>() / scores.len() as f64))
        };
        let accuracy = mean_of(&|set| {
            let judge = self.references.judge.as_ref();
            Ok(judge.and_then(|judge| holes.prompts.accuracy(judge, set)).transpose()?)
        })?;
        let headline = &self.references.headline;
        let train = headline.splits.iter().find(|split| split.name == "train");
        let frechet_distance = mean_of(&|set| {
            let Some(train) = train else { return Ok(None) };
            let features = headline.extractor.features(set)?;
            Ok(Some(train.reference.frechet_distance(&features)?))
        })?;
        let possible = mean_of(&|set| {
            let distribution = self.distribution;
            distribution.map(|known| known.possible_completions(set, &hole)).transpose()
        })?;
        let kept = |set: &Tensor| {
            let kept = set.eq_tensor(&holes.originals).logical_or(&hole);
            kept.flatten(1, -1).all_dim(1, false).to_kind(Kind::Double)
        };
        Ok(HoleScores {
            shown_in_training: self.shown.contains(&holes.kind),
            psnr: over_sets(&|set| pooled_psnr(&holes.originals, set, Some(&hole))),
            psnr_of_mean: (sets.len() > 1)
                .then(|| pooled_psnr_of_mean(&holes.originals, sets, Some(&hole))),
            ssim: mean(&|set| ssim(&holes.originals, set, Some(&hole))),
            frechet_distance,
            accuracy,
            possible,
            diversity: diversity(sets, &hole),
            known_pixels_kept: mean(&kept),
        })
    }
}

/// Separates the holes' seeds from those of other things.
const SEED: u64 = 31;

/// Training images that are compared with at once.
const NEAREST_AT_ONCE: i64 = 4096;

/// `filling`, broadcast, in the holes.
fn fill(holes: &Holes, filling: &Tensor) -> Tensor {
    let hole = holes.known.mask.eq(0.0);
    filling.expand_as(&holes.originals).where_self(&hole, &holes.originals)
}

/// For each image the training image with the least squared error in the known pixels, the first of several.
fn nearest(holes: &Holes, train: &Tensor) -> Tensor {
    let flat = |t: &Tensor| t.to_kind(Kind::Float).flatten(1, -1);
    let mask = flat(&holes.known.mask.expand_as(&holes.originals));
    let known = flat(&holes.originals) * &mask;
    // A million training images do not fit as floats.
    let candidates = train.split(NEAREST_AT_ONCE, 0).into_iter().map(|train| {
        let levels = flat(&train);
        // Σ m (x − t)² but for Σ m x², which is the same for every t.
        let distance = mask.matmul(&levels.square().tr()) - known.matmul(&levels.tr()) * 2.0;
        let (distance, row) = distance.min_dim(1, false);
        (distance, train.index_select(0, &row))
    });
    let nearer = |(least, best): (Tensor, Tensor), (distance, image): (Tensor, Tensor)| {
        let closer = distance.less_tensor(&least);
        let chosen = image.where_self(&closer.reshape([-1, 1, 1, 1]), &best);
        (distance.minimum(&least), chosen)
    };
    candidates.reduce(nearer).expect("training images").1
}

/// Root mean square difference in levels between two completions of one image by different seeds, over holes; `None` for one
/// seed.
fn diversity(sets: &[Tensor], hole: &Tensor) -> Option<f64> {
    let pairs = || (1..sets.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    let hole = hole.expand_as(sets.first()?).to_kind(Kind::Double);
    let difference = |(i, j): (usize, usize)| {
        let difference = sets[i].to_kind(Kind::Double) - sets[j].to_kind(Kind::Double);
        let sum = |t: Tensor| t.sum(Kind::Double).double_value(&[]);
        sum(difference.square() * &hole) / sum(hole.shallow_clone())
    };
    let count = pairs().count();
    (count > 0).then(|| (pairs().map(difference).sum::<f64>() / count as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use paragone_core::{DataSpec, ImageShape};

    fn holes() -> Holes {
        let originals =
            Tensor::from_slice(&[10u8, 20, 30, 40, 200, 210, 220, 230]).reshape([2, 1, 2, 2]);
        let mask =
            Tensor::from_slice(&[1f32, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).reshape([2, 1, 2, 2]);
        let known = Known { pixels: from_levels(&originals), mask };
        let shape = ImageShape { channels: 1, height: 2, width: 2 };
        let data = DataSpec {
            shape,
            num_classes: 0,
            text: None,
            known_pixels: false,
            mean: 0.0,
            std: 1.0,
        };
        let prompts = Prompts::of_classes(&[0, 0], &data);
        Holes { kind: MaskKind::Half, originals, known, prompts }
    }

    #[test]
    fn the_nearest_training_image_fills_only_the_hole() {
        let train = Tensor::from_slice(&[0u8, 20, 1, 2, 12, 19, 3, 4, 9, 211, 221, 231])
            .reshape([3, 1, 2, 2]);
        let filled = fill(&holes(), &nearest(&holes(), &train));
        let filled = Vec::<u8>::try_from(filled.flatten(0, -1)).unwrap();
        assert_eq!(filled, [10, 20, 3, 4, 9, 210, 220, 230]);
    }

    #[test]
    fn completions_differ_by_what_seeds_differ_in_holes() {
        let holes = holes();
        let hole = holes.known.mask.eq(0.0);
        let other = fill(&holes, &Tensor::from_slice(&[0u8]).reshape([1, 1, 1, 1]));
        let sets = [holes.originals.shallow_clone(), other];
        // 30, 40 and 200 levels in three pixels.
        let want = ((900.0 + 1600.0 + 40_000.0) / 3.0f64).sqrt();
        assert!((diversity(&sets, &hole).unwrap() - want).abs() < 1e-9);
        assert_eq!(diversity(&sets[..1], &hole), None);
    }
}
