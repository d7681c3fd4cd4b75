//! Images drawn from a model, kept with what they were drawn from: what is there is not drawn again.

use crate::{
    draw::Drawing,
    files::{ModelDir, aside, read_json, write_json},
    log::Reporter,
    prompts::Prompts,
    train::write_tensors,
    trained::Trained,
};
use anyhow::{Context, Result};
use paragone_core::mix;
use serde::{Deserialize, Serialize};
use std::{fs, path::PathBuf};
use tch::{Device, Tensor};

/// What images are drawn from. Image i of a seed is the same however many are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `SAMPLES_VERSION` at the time.
    pub version: u32,
    /// The model's section, its sampler included.
    pub model: serde_json::Value,
    /// SHA-256 of the averaged weights.
    pub weights: String,
    /// SHA-256 of the training images, whose classes' frequencies samples have.
    pub train_hash: String,
    /// SHA-256 of the test images, where samples have their captions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions_hash: Option<String>,
    /// Images drawn at once: sums are made in another order in another batch.
    pub batch_size: u64,
    /// `cpu` or `cuda`.
    pub device: String,
}

/// Images of one evaluation seed.
#[derive(Debug)]
pub struct Samples {
    /// u8 `[n, c, h, w]`.
    pub levels: Tensor,
    /// What drawing them cost.
    pub cost: Cost,
}

/// What drawing images cost.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Network calls that each image took part in.
    pub network_calls: u64,
    /// Seconds for all images.
    pub seconds: f64,
}

/// Seeds of samples `from..to` under an evaluation seed.
pub fn image_seeds(seed: u64, from: u64, to: u64) -> Vec<u64> {
    (from..to).map(|i| mix(&[seed, i])).collect()
}

/// What to draw with, and how.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the progress bar says.
    pub title: &'a str,
    /// The evaluation seed.
    pub seed: u64,
    /// What each image is asked to be.
    pub prompts: &'a Prompts,
    /// See [`paragone_core::SampleRequest`].
    pub guidance_scale: f64,
    /// See [`paragone_core::SampleRequest`].
    pub temperature: f64,
    /// Images drawn at once.
    pub batch_size: u64,
    /// Where to compute.
    pub device: Device,
}

impl Request<'_> {
    /// Draws images `from..` of the request, or those of the whole batches that were finished when the user asked to stop; `None`
    /// if no batch was.
    fn draw_from(&self, trained: &Trained, from: u64) -> Result<Option<Samples>> {
        let all = self.prompts.len() as u64;
        let prompts = self.prompts.narrow(from as i64, (all - from) as i64);
        let seeds = image_seeds(self.seed, from, all);
        let drawing = Drawing {
            guidance_scale: self.guidance_scale,
            temperature: self.temperature,
            ..Drawing::new(&prompts.conditions, seeds, self.batch_size as usize)
        };
        let mut reporter = Reporter::new(self.title, "images", 0, all - from);
        let drawn = drawing.draw_batches(&*trained.model, self.device, Some(&mut reporter))?;
        reporter.finish();
        Ok(drawn.map(|drawn| Samples {
            levels: drawn.levels,
            cost: Cost { network_calls: drawn.network_calls, seconds: drawn.seconds },
        }))
    }

    /// Draws the images; `None` when the user asked to stop.
    pub fn draw(&self, trained: &Trained) -> Result<Option<Samples>> {
        let drawn = self.draw_from(trained, 0)?;
        Ok(drawn.filter(|samples| samples.levels.size()[0] == self.prompts.len()))
    }

    /// The images from the model's folder as far as they are there; the others are drawn and kept. `None` when the user
    /// asked to stop: the whole batches until then are kept.
    pub fn read_or_draw(
        &self,
        trained: &Trained,
        dir: &ModelDir,
        source: &Source,
    ) -> Result<Option<Samples>> {
        let kept = Kept::new(dir, self.seed);
        let n = self.prompts.len();
        let there = kept.read(source);
        if let Some(there) = &there
            && there.levels.size()[0] >= n
        {
            let share = n as f64 / there.levels.size()[0] as f64;
            let cost = Cost { seconds: there.cost.seconds * share, ..there.cost };
            return Ok(Some(Samples { levels: there.levels.narrow(0, 0, n), cost }));
        }
        // Whole batches only, so that every image keeps the batch it is drawn in.
        let batches = there.as_ref().map_or(0, |s| s.levels.size()[0] as u64 / self.batch_size);
        let from = batches * self.batch_size;
        let Some(mut samples) = self.draw_from(trained, from)? else { return Ok(None) };
        if let Some(there) = there.filter(|_| from > 0) {
            let share = from as f64 / there.levels.size()[0] as f64;
            let first = there.levels.narrow(0, 0, from as i64);
            samples.levels = Tensor::cat(&[first, samples.levels], 0);
            samples.cost.seconds += there.cost.seconds * share;
        }
        let done = samples.levels.size()[0];
        kept.write(&samples, &self.prompts.narrow(0, done), source)?;
        Ok((done == n).then_some(samples))
    }
}

/// Images on disk, for other scores, and for anyone to score by other means.
#[derive(Debug)]
pub struct Kept {
    images: PathBuf,
    source: PathBuf,
}

/// Name of the images' tensor, u8 `[n, c, h, w]`.
const IMAGES: &str = "images";

impl Kept {
    /// Those of an evaluation seed.
    pub fn new(dir: &ModelDir, seed: u64) -> Self {
        let images = dir.scored_images(seed);
        Self { source: images.with_extension("json"), images }
    }

    /// The images and what they cost, if they were drawn from `source`; files that do not parse are drawn again.
    pub fn read(&self, source: &Source) -> Option<Samples> {
        let (drawn_from, cost): (Source, Cost) = read_json(&self.source).ok()?;
        let tensors = (drawn_from == *source).then(|| Tensor::read_safetensors(&self.images))?;
        let (_, levels) = tensors.ok()?.into_iter().find(|(name, _)| name == IMAGES)?;
        Some(Samples { levels, cost })
    }

    fn write(&self, samples: &Samples, prompts: &Prompts, source: &Source) -> Result<()> {
        // Images without a source are drawn again; a source without its images never stands.
        let _ = fs::remove_file(&self.source);
        let aside = aside(&self.images);
        let named = [
            (IMAGES.to_owned(), samples.levels.shallow_clone()),
            ("classes".to_owned(), prompts.conditions.class.shallow_clone()),
            ("tokens".to_owned(), prompts.conditions.tokens.shallow_clone()),
        ];
        write_tensors(&named, &aside)?;
        fs::rename(&aside, &self.images)
            .with_context(|| format!("cannot write {}", self.images.display()))?;
        write_json(&self.source, &(source, samples.cost))
    }
}
