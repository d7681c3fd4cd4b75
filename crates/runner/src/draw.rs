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
        reporter: Option<&mut Reporter>,
    ) -> Result<Option<Drawn>> {
        let drawn = self.draw_batches(model, device, reporter)?;
        Ok(drawn.filter(|drawn| drawn.levels.size()[0] == self.seeds.len() as i64))
    }

    /// Draws the images, or those of the whole batches that were finished when the user asked to stop; `None` if no batch was.
    pub fn draw_batches(
        &self,
        model: &dyn Generator,
        device: Device,
        mut reporter: Option<&mut Reporter>,
    ) -> Result<Option<Drawn>> {
        let start = Instant::now();
        let (mut pieces, mut drawn) = (Vec::new(), 0u64);
        let (mut network_calls, mut seconds) = (0, 0.0);
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
            let mut calls = 0;
            let mut on_step = |progress: Progress| {
                calls = progress.call;
                if let Some(reporter) = &mut reporter {
                    let share = progress.call as f64 / progress.calls.max(1) as f64;
                    reporter.set(drawn + (share * seeds.len() as f64) as u64);
                }
                if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let rows = (drawn as i64, seeds.len() as i64);
            match tch::no_grad(|| self.task.perform(model, &request, rows, &mut on_step))? {
                Ok(images) => pieces.push(to_bytes(&images)),
                Err(Error::Stopped) => break,
                Err(error) => return Err(error.into()),
            }
            drawn += seeds.len() as u64;
            (network_calls, seconds) = (calls, start.elapsed().as_secs_f64());
        }
        let levels = (!pieces.is_empty()).then(|| Tensor::cat(&pieces, 0));
        Ok(levels.map(|levels| Drawn { levels, network_calls, seconds }))
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

/// u8 images with a chequered gray, which is no picture's own, where the mask, `[n, 1, h, w]`, is 0.
pub fn hidden(levels: &Tensor, mask: &Tensor) -> Tensor {
    let [.., h, w] = levels.size()[..] else { unreachable!("images are [n, c, h, w]") };
    let index = |n: i64| Tensor::arange(n, (Kind::Int64, levels.device()));
    let odd = (index(h).unsqueeze(1) + index(w)).remainder(2);
    let chequered = (odd * 48 + 104).to_kind(Kind::Uint8);
    levels.where_self(&mask.to_kind(Kind::Bool), &chequered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use paragone_core::{Loss, Phase, StepContext};

    /// Draws black images in three calls a batch; stops in the second call of the batch that has class 4.
    #[derive(Debug)]
    struct Toy;

    impl Generator for Toy {
        fn phases(&self) -> Vec<Phase> {
            Vec::new()
        }

        fn loss(&self, _: &Phase, _: &Batch, _: &StepContext) -> paragone_core::Result<Loss> {
            unreachable!("it is not trained")
        }

        fn sample(
            &self,
            request: &SampleRequest,
            on_step: &mut dyn OnStep,
        ) -> paragone_core::Result<Tensor> {
            let classes = &request.conditions.class;
            let images = || Tensor::full([classes.size()[0], 1, 2, 2], -1.0, tch::kind::FLOAT_CPU);
            for call in 1..=3 {
                if call == 2 && classes.eq(4).any().int64_value(&[]) == 1 {
                    return Err(Error::Stopped);
                }
                on_step.step(Progress { call, calls: 3, images: &images })?;
            }
            Ok(images())
        }
    }

    #[test]
    fn a_stop_keeps_whole_batches() {
        let class = Tensor::arange(7, (Kind::Int64, Device::Cpu));
        let tokens = class.new_zeros([7, 0], (Kind::Int64, Device::Cpu));
        let conditions = Conditions { class, tokens, known: None };
        let drawing = |batch_size| Drawing::new(&conditions, (0..7).collect(), batch_size);
        let drawn = drawing(2).draw_batches(&Toy, Device::Cpu, None).unwrap().unwrap();
        assert_eq!((drawn.levels.size(), drawn.network_calls), (vec![4, 1, 2, 2], 3));
        assert!(drawing(2).draw(&Toy, Device::Cpu, None).unwrap().is_none());
        assert!(drawing(5).draw_batches(&Toy, Device::Cpu, None).unwrap().is_none());
    }
}
