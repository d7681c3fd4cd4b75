//! Having a model make images, by whichever task: batches, seeds, conditions, 8-bit levels, and what it cost.

use crate::{interrupt, log::Reporter};
use anyhow::{Result, anyhow};
use paragone_core::{
    Batch, Conditions, Error, Generator, Noise, OnStep, Progress, SampleRequest, to_levels,
};
use std::{ops::ControlFlow, time::Instant};
use tch::{Device, Kind, Tensor};

/// How images are made.
#[derive(Debug, Clone, Copy)]
pub enum Task<'a> {
    /// New ones.
    Generate,
    /// Around the known pixels of the conditions.
    Inpaint,
    /// Out of others.
    Edit {
        /// The images, on the host, with the conditions that they fulfil.
        source: &'a Batch,
        /// See [`Edit::edit`](paragone_core::Edit::edit).
        strength: f64,
    },
}

/// Images to draw.
#[derive(Debug)]
pub struct Drawing<'a> {
    /// How.
    pub task: Task<'a>,
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
        Self {
            task: Task::Generate,
            conditions,
            seeds,
            negative: None,
            guidance_scale: 1.0,
            temperature: 1.0,
            batch_size,
        }
    }

    /// Draws the images; `None` when the user asked to stop. An error if the model lacks what the task needs.
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
            let rows = (drawn as i64, seeds.len() as i64);
            match tch::no_grad(|| self.task.perform(model, &request, rows, &mut on_step))? {
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

impl Task<'_> {
    /// Makes the images of a request that are `rows` (the first and their number) of all. The outer error: what the model lacks.
    fn perform(
        &self,
        model: &dyn Generator,
        request: &SampleRequest,
        (start, len): (i64, i64),
        on_step: &mut dyn OnStep,
    ) -> Result<paragone_core::Result<Tensor>> {
        Ok(match self {
            Task::Generate => model.sample(request, on_step),
            Task::Inpaint => {
                model.inpaint().map_err(|lacks| anyhow!("{lacks}"))?.inpaint(request, on_step)
            }
            Task::Edit { source, strength } => {
                let source = source.narrow(start, len).to_device(request.conditions.class.device());
                let edit = model.edit().map_err(|lacks| anyhow!("{lacks}"))?;
                edit.edit(&source, request, *strength, on_step)
            }
        })
    }
}

/// f32 images in [-1, 1] to u8 levels on the host.
pub fn to_bytes(images: &Tensor) -> Tensor {
    to_levels(images).to_kind(Kind::Uint8).to_device(Device::Cpu)
}

/// u8 images with mid-gray where the mask, `[n, 1, h, w]`, is 0.
pub fn hidden(levels: &Tensor, mask: &Tensor) -> Tensor {
    levels.where_self(&mask.to_kind(Kind::Bool), &levels.full_like(127))
}
