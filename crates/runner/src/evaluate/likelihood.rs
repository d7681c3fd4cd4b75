//! Likelihood of test images in bits per dimension, with its kind, its method and its standard error.

use crate::{interrupt, log::Reporter};
use anyhow::Result;
use paragone_core::{
    Conditions, DataSpec, Error, Generator, Likelihood, LikelihoodKind, LikelihoodMethod, Noise,
    Progress, bits_per_dim, mix,
};
use paragone_data::ImageSet;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use tch::{Device, Tensor};

/// Likelihood by one method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LikelihoodScore {
    /// Mean over images, bits per dimension of the 8-bit image at native resolution.
    pub value: f64,
    /// Standard error of the mean over images.
    pub standard_error: f64,
    /// What the figure means.
    pub kind: LikelihoodKind,
    /// How it was computed.
    pub method: String,
    /// Whether the model was told anything of the images: a class or a caption.
    pub conditional: bool,
    /// Images it is over: the first ones of the split.
    pub images: i64,
    /// Random draws an image that the figure is an average over; 0: nothing is random.
    pub draws: u64,
    /// Network passes an image.
    pub passes: u64,
}

/// Likelihood by one method, and what it is the mean of.
#[derive(Debug)]
pub struct Measured {
    /// The method.
    method: LikelihoodMethod,
    /// The mean and its error.
    pub score: LikelihoodScore,
    /// −ln p of each image.
    nats: Vec<f64>,
}

/// Images of either split whose likelihoods are compared, at most.
const GAP_IMAGES: usize = 1_000;

/// Images that a method is run on: as many as [`PASSES`] pay for, but a dear one may take up to [`MOST_PASSES`] to reach
/// the first [`ENOUGH_IMAGES`]. What is dearer still makes do with fewer, and some are always scored.
const PASSES: u64 = 40_000;
const MOST_PASSES: u64 = 150_000;
const ENOUGH_IMAGES: u64 = 1_000;
const FEWEST_IMAGES: u64 = 50;

fn affordable_images(passes: u64) -> u64 {
    let passes = passes.max(1);
    (PASSES / passes).max(ENOUGH_IMAGES.min(MOST_PASSES / passes)).max(FEWEST_IMAGES)
}

/// All methods that `model` offers, the headline first, or why there is no figure; `Ok(None)` when the user asked to stop.
pub fn measure(
    model: &dyn Generator,
    test: &ImageSet,
    data: &DataSpec,
    most_images: u64,
    batch_size: i64,
    device: Device,
) -> Result<Option<Result<Vec<Measured>, String>>> {
    let likelihood = match model.likelihood() {
        Ok(likelihood) => likelihood,
        Err(lacks) => return Ok(Some(Err(lacks.to_string()))),
    };
    let mut scores = Vec::new();
    for method in likelihood.methods() {
        let affordable = affordable_images(method.passes);
        let images = most_images.min(affordable).min(test.len() as u64) as i64;
        match score(likelihood, method, test, data, images, batch_size, device)? {
            Some(Ok(score)) => scores.push(score),
            Some(Err(reason)) => return Ok(Some(Err(reason))),
            None => return Ok(None),
        }
    }
    Ok(Some(Ok(scores)))
}

/// What a model gives test images less than the images it was trained on: the sign of a model that has learnt these by
/// heart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainTestGap {
    /// Likelihood of the first test images.
    pub test: LikelihoodScore,
    /// The same of as many training images.
    pub train: LikelihoodScore,
    /// Test less train, bits per dimension.
    pub gap: f64,
    /// Standard error of the gap: the two sets are drawn independently, so variances add.
    pub standard_error: f64,
}

/// The first of the test images that were `measured` beside as many training images, or why there is no figure; `Ok(None)`
/// when the user asked to stop.
pub fn train_test_gap(
    model: &dyn Generator,
    measured: &Measured,
    train: &ImageSet,
    data: &DataSpec,
    batch_size: i64,
    device: Device,
) -> Result<Option<Result<TrainTestGap, String>>> {
    let likelihood = match model.likelihood() {
        Ok(likelihood) => likelihood,
        Err(lacks) => return Ok(Some(Err(lacks.to_string()))),
    };
    let Measured { method, score: whole, nats } = measured;
    let images = nats.len().min(GAP_IMAGES).min(train.len() as usize);
    let of_train =
        score(likelihood, method.clone(), train, data, images as i64, batch_size, device)?;
    Ok(of_train.map(|train| {
        let train = train?.score;
        let test = summarise(method, &nats[..images], data, whole.conditional);
        let gap = test.value - train.value;
        let standard_error = test.standard_error.hypot(train.standard_error);
        Ok(TrainTestGap { test, train, gap, standard_error })
    }))
}

/// The first `images` of a set by one method, or why that gives no figure; `Ok(None)` when the user asked to stop.
fn score(
    likelihood: &dyn Likelihood,
    method: LikelihoodMethod,
    set: &ImageSet,
    data: &DataSpec,
    images: i64,
    batch_size: i64,
    device: Device,
) -> Result<Option<Result<Measured, String>>> {
    let mut reporter = Reporter::new(&method.name, "images", 0, images as u64);
    let mut nats = Vec::new();
    let mut conditional = false;
    for start in (0..images).step_by(batch_size as usize) {
        let batch = set.batch(start, batch_size.min(images - start), data);
        conditional |= asks_for_something(&batch.conditions, data);
        let batch = batch.to_device(device);
        let seeds = (start..start + batch.len()).map(|i| mix(&[i as u64, 5])).collect();
        let noise = Noise::new(seeds, device);
        let mut on_step = |_: Progress| match interrupt::asked() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        match tch::no_grad(|| likelihood.nats(&method, &batch, &noise, &mut on_step)) {
            Ok(values) => nats.extend(Vec::<f64>::try_from(values)?),
            Err(Error::Stopped) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        reporter.set((start + batch.len()) as u64);
    }
    reporter.finish();
    if let Some(image) = nats.iter().position(|nats| !nats.is_finite()) {
        let reason = format!("{} of image {image} is {} nats", method.name, nats[image]);
        return Ok(Some(Err(reason)));
    }
    let score = summarise(&method, &nats, data, conditional);
    Ok(Some(Ok(Measured { method, score, nats })))
}

/// Whether any image of the batch comes with a class or a caption.
fn asks_for_something(conditions: &Conditions, data: &DataSpec) -> bool {
    let any = |t: Tensor| t.any().int64_value(&[]) == 1;
    any(conditions.class.not_equal(data.null_class())) || any(conditions.tokens.not_equal(0))
}

fn summarise(
    method: &LikelihoodMethod,
    nats: &[f64],
    data: &DataSpec,
    conditional: bool,
) -> LikelihoodScore {
    let n = nats.len() as f64;
    let mean = nats.iter().sum::<f64>() / n;
    let variance = nats.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let bits = |nats: f64| bits_per_dim(nats, data.shape.numel());
    LikelihoodScore {
        value: bits(mean),
        standard_error: bits((variance / n).sqrt()),
        kind: method.kind,
        method: method.name.clone(),
        conditional,
        images: nats.len() as i64,
        draws: method.draws,
        passes: method.passes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paragone_core::{
        Batch, ImageShape, LikelihoodKind, Loss, OnStep, Phase, SampleRequest, StepContext,
        to_levels,
    };
    use tch::Kind;

    const SHAPE: ImageShape = ImageShape { channels: 3, height: 4, width: 5 };
    const DEAR: u64 = 128;

    /// A model of nothing but its likelihood: the nats of images from their levels, f64 `[n, c, h, w]`.
    #[derive(Debug)]
    struct Toy(fn(&Tensor) -> Tensor);

    impl Generator for Toy {
        fn phases(&self) -> Vec<Phase> {
            Vec::new()
        }

        fn loss(&self, _: &Phase, _: &Batch, _: &StepContext) -> paragone_core::Result<Loss> {
            unreachable!("it is not trained")
        }

        fn sample(&self, _: &SampleRequest, _: &mut dyn OnStep) -> paragone_core::Result<Tensor> {
            unreachable!("it is not sampled")
        }

        fn likelihood(&self) -> paragone_core::Offer<'_, dyn Likelihood> {
            Ok(self)
        }
    }

    impl Likelihood for Toy {
        fn methods(&self) -> Vec<LikelihoodMethod> {
            let method = |name: &str, kind, draws, passes| LikelihoodMethod {
                name: name.to_owned(),
                kind,
                draws,
                passes,
            };
            vec![
                method("exact", LikelihoodKind::Exact, 0, 1),
                method("bound", LikelihoodKind::Bound, 4, DEAR),
            ]
        }

        fn nats(
            &self,
            _: &LikelihoodMethod,
            batch: &Batch,
            _: &Noise,
            _: &mut dyn OnStep,
        ) -> paragone_core::Result<Tensor> {
            let pixels = (self.0)(&to_levels(&batch.images).to_kind(Kind::Double));
            Ok(pixels.flatten(1, -1).sum_dim_intlist(1, false, Kind::Double))
        }
    }

    /// Every level has the probability 1/256.
    const UNIFORM: Toy = Toy(|levels| levels.ones_like() * 256f64.ln());

    fn spec(num_classes: i64) -> DataSpec {
        DataSpec { shape: SHAPE, num_classes, text: None, known_pixels: false, mean: 0.0, std: 1.0 }
    }

    /// Image `i` is of level `i` mod 256 everywhere.
    fn images(n: i64, classes: bool) -> ImageSet {
        let levels: Vec<u8> = (0..n).flat_map(|i| [(i % 256) as u8; 60]).collect();
        ImageSet::new(&levels, SHAPE, classes.then(|| vec![1; n as usize]), None)
    }

    fn measured(toy: &Toy, set: &ImageSet, data: &DataSpec, most: u64) -> Vec<LikelihoodScore> {
        let measured = measure(toy, set, data, most, 64, Device::Cpu).unwrap().unwrap().unwrap();
        measured.into_iter().map(|method| method.score).collect()
    }

    #[test]
    fn a_uniform_model_scores_eight_bits() {
        let scores = measured(&UNIFORM, &images(1100, true), &spec(3), 5000);
        for score in &scores {
            assert!((score.value - 8.0).abs() < 1e-12, "{score:?}");
            assert!(score.standard_error < 1e-12, "{score:?}");
            assert!(score.conditional);
        }
        // A dear method makes do with the first 1,000 images.
        let told = |s: &LikelihoodScore| (s.kind, s.images, s.draws, s.passes);
        assert_eq!(told(&scores[0]), (LikelihoodKind::Exact, 1100, 0, 1));
        assert_eq!(told(&scores[1]), (LikelihoodKind::Bound, 1000, 4, DEAR));
    }

    /// Levels 0, 1 and 2 at as many nats a value: 60 of them cost 0, 60 and 120 nats, with a standard deviation of 60.
    #[test]
    fn means_and_standard_errors_are_over_images() {
        let toy = Toy(Tensor::shallow_clone);
        let score = &measured(&toy, &images(100, false), &spec(3), 3)[0];
        let bit = std::f64::consts::LN_2;
        assert!((score.value - 1.0 / bit).abs() < 1e-12, "{score:?}");
        assert!((score.standard_error - 1.0 / 3f64.sqrt() / bit).abs() < 1e-12, "{score:?}");
        assert!(!score.conditional, "its images have no classes");
    }

    #[test]
    fn dear_methods_are_run_on_fewer_images() {
        let affordable = [1, 17, 64, 128, 300, 1_000_000].map(affordable_images);
        assert_eq!(affordable, [40_000, 2352, 1000, 1000, 500, 50]);
    }

    #[test]
    fn the_gap_is_test_less_train() {
        let toy = Toy(Tensor::shallow_clone);
        let [train, test] = [images(2, false), images(300, false)];
        let (data, device) = (spec(0), Device::Cpu);
        let gap = |[train, test]: [&ImageSet; 2]| {
            let measured = measure(&toy, test, &data, 200, 64, device).unwrap().unwrap().unwrap();
            let gap = train_test_gap(&toy, &measured[0], train, &data, 64, device);
            gap.unwrap().unwrap().unwrap()
        };
        let found = gap([&train, &test]);
        assert_eq!((found.train.images, found.test.images, found.gap), (2, 2, 0.0));
        let (dark, bright) = (&train, ImageSet::new(&[3; 120], SHAPE, None, None));
        let found = gap([dark, &bright]);
        // Dark costs 0 and 60 nats, bright 180 both times.
        assert!((found.gap - 2.5 / std::f64::consts::LN_2).abs() < 1e-12, "{found:?}");
        assert!((found.standard_error - found.train.standard_error).abs() < 1e-12);
        // Test images are not measured again: what was measured by another model stands.
        let other = measure(&UNIFORM, &test, &data, 200, 64, device).unwrap().unwrap().unwrap();
        let found = train_test_gap(&toy, &other[0], dark, &data, 64, device);
        let found = found.unwrap().unwrap().unwrap();
        assert!((found.test.value - 8.0).abs() < 1e-12, "{found:?}");
        assert_eq!(found.test.images, 2);
    }

    #[test]
    fn what_is_no_number_has_a_reason() {
        let toy = Toy(|levels| levels.log() * 0.0);
        let outcome = measure(&toy, &images(2, false), &spec(0), 2, 64, Device::Cpu);
        let reason = outcome.unwrap().unwrap().unwrap_err();
        assert_eq!(reason, "exact of image 0 is NaN nats");
    }
}
