//! Film strips: how a model makes its images.

use crate::{draw::to_bytes, interrupt, log::Reporter};
use anyhow::Result;
use image::RgbImage;
use paragone_core::{
    Batch, Conditions, Error, Generator, Latents, Noise, Noising, Progress, SampleRequest,
};
use std::ops::ControlFlow;
use tch::{Device, Tensor};

/// Pictures in the order of time, u8 `[n, c, h, w]` each, and what stands above each.
#[derive(Debug)]
pub struct Strip {
    frames: Vec<Tensor>,
    labels: Vec<String>,
}

impl Strip {
    /// The strip as a picture: one row an image, one column a frame.
    pub fn picture(&self) -> RgbImage {
        paragone_report::film_strip(&self.frames, &self.labels)
    }
}

/// What all strips of a model share: which images, and how many frames.
#[derive(Debug)]
pub struct Scene {
    conditions: Conditions,
    noise: Noise,
    frames: usize,
}

impl Scene {
    /// An image for every row of `conditions`, of `seed` and those that follow it, in `frames` frames.
    pub fn new(conditions: &Conditions, frames: usize, seed: u64, device: Device) -> Self {
        let seeds = (0..conditions.len() as u64).map(|i| seed + i).collect();
        let conditions = conditions.to_device(device);
        Self { conditions, noise: Noise::new(seeds, device), frames }
    }

    /// Number of images.
    pub fn num_images(&self) -> i64 {
        self.noise.len()
    }

    /// `frames` numbers from 0 to 1.
    fn times(&self) -> impl Iterator<Item = f64> + use<> {
        let last = (self.frames - 1) as f64;
        (0..self.frames).map(move |i| i as f64 / last)
    }

    /// Test images on their way to noise.
    pub fn noising(&self, noising: &dyn Noising, test: &Batch) -> Result<Strip> {
        let noise = self.noise.narrow(0, test.len());
        let mut strip = Strip { frames: Vec::new(), labels: Vec::new() };
        for time in self.times() {
            strip.frames.push(to_bytes(&noising.noised(&test.images, time, &noise)?));
            strip.labels.push(format!("{:.0} %", time * 100.0));
        }
        Ok(strip)
    }

    /// The picture at each of some network calls, and at last what came out; `None` if there is only one, or when the
    /// user asked to stop.
    pub fn sampling(&self, model: &dyn Generator) -> Result<Option<Strip>> {
        let mut strip = Strip { frames: Vec::new(), labels: Vec::new() };
        let mut reporter = None;
        let mut on_step = |progress: Progress| {
            if progress.calls < 2 || interrupt::asked() {
                return ControlFlow::Break(());
            }
            let new = || Reporter::new("sampling", "calls", 0, progress.calls);
            reporter.get_or_insert_with(new).set(progress.call);
            // Frame i of f is shown at the call that is nearest to a share i / (f - 1) of all.
            let frames = self.frames.min(progress.calls as usize);
            let due = 1 + strip.frames.len() as u64 * (progress.calls - 1) / (frames as u64 - 1);
            if progress.call >= due {
                strip.frames.push(to_bytes(&(progress.images)()));
                strip.labels.push(format!("{} / {}", progress.call, progress.calls));
            }
            ControlFlow::Continue(())
        };
        let request = SampleRequest::new(&self.conditions, &self.noise);
        let drawn = tch::no_grad(|| model.sample(&request, &mut on_step));
        if let Some(reporter) = reporter {
            reporter.finish();
        }
        match drawn {
            Ok(images) => {
                strip.frames.splice(strip.frames.len() - 1.., [to_bytes(&images)]);
                Ok(Some(strip))
            }
            Err(Error::Stopped) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Test images, and what their latents bring back with nothing left to chance; `None` when the user asked to stop.
    pub fn reconstruction(&self, latents: &dyn Latents, test: &Batch) -> Result<Option<Strip>> {
        let noise = self.noise.narrow(0, test.len());
        let Some(z) = encode(latents, test, &noise)? else { return Ok(None) };
        let decoded = decode(latents, &z, &test.conditions, &noise)?;
        let frames = vec![to_bytes(&test.images), decoded];
        Ok(Some(Strip { frames, labels: vec!["test image".into(), "decoded".into()] }))
    }

    /// From one draw of the prior to another on the sphere that the prior's mass lies near.
    pub fn walk(&self, latents: &dyn Latents) -> Result<Strip> {
        let dim = latents.latent_dim();
        let (from, to) = (self.noise.normal(0, &[dim]), self.noise.fork(1).normal(0, &[dim]));
        let request = SampleRequest::new(&self.conditions, &self.noise);
        let mut strip = Strip { frames: Vec::new(), labels: Vec::new() };
        for time in self.times() {
            let angle = time * std::f64::consts::FRAC_PI_2;
            let z = &from * angle.cos() + &to * angle.sin();
            strip.frames.push(to_bytes(&tch::no_grad(|| latents.decode(&z, &request))?));
            strip.labels.push(format!("{:.0} %", time * 100.0));
        }
        Ok(strip)
    }
}

/// The latents of images; `None` when the user asked to stop.
pub fn encode(latents: &dyn Latents, images: &Batch, noise: &Noise) -> Result<Option<Tensor>> {
    let mut reporter = None;
    let mut on_step = |progress: Progress| {
        let new = || Reporter::new("encoding", "calls", 0, progress.calls);
        reporter.get_or_insert_with(new).set(progress.call);
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let encoded = latents.encode(images, noise, &mut on_step);
    if let Some(reporter) = reporter {
        reporter.finish();
    }
    match encoded {
        Ok(z) => Ok(Some(z)),
        Err(Error::Stopped) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What latents stand for with nothing left to chance, u8 `[n, c, h, w]`.
pub fn decode(
    latents: &dyn Latents,
    z: &Tensor,
    conditions: &Conditions,
    noise: &Noise,
) -> Result<Tensor> {
    let request = SampleRequest { temperature: 0.0, ..SampleRequest::new(conditions, noise) };
    Ok(to_bytes(&tch::no_grad(|| latents.decode(z, &request))?))
}
