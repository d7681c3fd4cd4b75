//! Likelihood of test images in bits per dimension, with its kind, its method and its standard error.

use crate::{interrupt, log::Reporter};
use anyhow::Result;
use paragone_core::{
    DataSpec, Error, Generator, LikelihoodKind, LikelihoodMethod, Noise, Progress, bits_per_dim,
    mix,
};
use paragone_data::ImageSet;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use tch::Device;

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
    /// Whether the model was told the class of each image.
    pub conditional: bool,
    /// Test images it is over: the first ones of the split.
    pub images: i64,
    /// Network passes an image.
    pub passes: u64,
}

/// Network passes that a method may take in all before it is run on fewer images, and images it is run on at least.
const MOST_PASSES: u64 = 40_000;
const FEWEST_IMAGES: u64 = 500;

/// All methods that `model` offers, the headline first, or why there is none; `Ok(None)` when the user asked to stop.
pub fn measure(
    model: &dyn Generator,
    test: &ImageSet,
    data: &DataSpec,
    most_images: u64,
    batch_size: i64,
    device: Device,
) -> Result<Option<Result<Vec<LikelihoodScore>, String>>> {
    let likelihood = match model.likelihood() {
        Ok(likelihood) => likelihood,
        Err(lacks) => return Ok(Some(Err(lacks.to_string()))),
    };
    let mut scores = Vec::new();
    for method in likelihood.methods() {
        let affordable = (MOST_PASSES / method.passes.max(1)).max(FEWEST_IMAGES);
        let images = most_images.min(affordable).min(test.len() as u64) as i64;
        let mut reporter = Reporter::new(&method.name, "images", 0, images as u64);
        let mut nats = Vec::new();
        for start in (0..images).step_by(batch_size as usize) {
            let batch = test.batch(start, batch_size.min(images - start), data).to_device(device);
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
        scores.push(summarise(&method, &nats, data));
    }
    Ok(Some(Ok(scores)))
}

fn summarise(method: &LikelihoodMethod, nats: &[f64], data: &DataSpec) -> LikelihoodScore {
    let n = nats.len() as f64;
    let mean = nats.iter().sum::<f64>() / n;
    let variance = nats.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let bits = |nats: f64| bits_per_dim(nats, data.shape.numel());
    LikelihoodScore {
        value: bits(mean),
        standard_error: bits((variance / n).sqrt()),
        kind: method.kind,
        method: method.name.clone(),
        conditional: data.num_classes > 0,
        images: nats.len() as i64,
        passes: method.passes,
    }
}
