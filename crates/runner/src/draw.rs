//! Drawing images from a model: batches, seeds, conditions, 8-bit levels, and what it cost.

use crate::{interrupt, log::Reporter};
use anyhow::Result;
use paragone_core::{Conditions, Error, Generator, Noise, Progress, SampleRequest, to_levels};
use std::{ops::ControlFlow, time::Instant};
use tch::{Device, Kind, Tensor};

/// Images to draw.
#[derive(Debug)]
pub struct Drawing<'a> {
    /// What each image is asked to be, on the host.
    pub conditions: &'a Conditions,
    /// Seed of each image.
    pub seeds: Vec<u64>,
    /// See [`SampleRequest::negative`]; on the host.
    pub negative: Option<&'a Conditions>,
    /// See [`SampleRequest::guidance_scale`].
    pub guidance_scale: f64,
    /// See [`SampleRequest::temperature`].
    pub temperature: f64,
    /// Images drawn at once.
    pub batch_size: usize,
}

/// Drawn images.
#[derive(Debug)]
pub struct Drawn {
    /// u8 `[n, c, h, w]` on the host.
    pub levels: Tensor,
    /// Network calls that each image took part in.
    pub network_calls: u64,
    /// Seconds from the first call to the last image.
    pub seconds: f64,
}

impl<'a> Drawing<'a> {
    /// Without any quality knob.
    pub fn new(conditions: &'a Conditions, seeds: Vec<u64>, batch_size: usize) -> Self {
        let (guidance_scale, temperature) = (1.0, 1.0);
        Self { conditions, seeds, negative: None, guidance_scale, temperature, batch_size }
    }

    /// Draws the images; `None` when the user asked to stop.
    pub fn draw(
        &self,
        model: &dyn Generator,
        device: Device,
        mut reporter: Option<&mut Reporter>,
    ) -> Result<Option<Drawn>> {
        let start = Instant::now();
        let (mut pieces, mut network_calls, mut drawn) = (Vec::new(), 0, 0u64);
        for seeds in self.seeds.chunks(self.batch_size) {
            let rows =
                |all: &Conditions| all.narrow(drawn as i64, seeds.len() as i64).to_device(device);
            let (conditions, negative) = (rows(self.conditions), self.negative.map(rows));
            let noise = Noise::new(seeds.to_vec(), device);
            let request = SampleRequest {
                guidance_scale: self.guidance_scale,
                temperature: self.temperature,
                negative: negative.as_ref(),
                ..SampleRequest::new(&conditions, &noise)
            };
            let mut on_step = |progress: Progress| {
                network_calls = progress.call;
                if let Some(reporter) = &mut reporter {
                    let share = progress.call as f64 / progress.calls.max(1) as f64;
                    reporter.set(drawn + (share * seeds.len() as f64) as u64);
                }
                if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            match tch::no_grad(|| model.sample(&request, &mut on_step)) {
                Ok(images) => pieces.push(to_bytes(&images)),
                Err(Error::Stopped) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            drawn += seeds.len() as u64;
        }
        let levels = Tensor::cat(&pieces, 0);
        Ok(Some(Drawn { levels, network_calls, seconds: start.elapsed().as_secs_f64() }))
    }
}

/// f32 images in [-1, 1] to u8 levels on the host.
pub fn to_bytes(images: &Tensor) -> Tensor {
    to_levels(images).to_kind(Kind::Uint8).to_device(Device::Cpu)
}
