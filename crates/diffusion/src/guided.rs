//! The denoiser as samplers call it.

use crate::model::DiffusionModel;
use paragone_core::{Conditions, Known, OnStep, Progress, Result, SampleRequest};
use tch::Tensor;

/// The denoiser under a request: guided, clipped, with known pixels put in, every network call reported.
pub(crate) struct Guided<'a> {
    model: &'a DiffusionModel,
    request: &'a SampleRequest<'a>,
    unprompted: Option<Conditions>,
    /// What is certain of the centred image.
    known: Option<Known>,
    on_step: &'a mut dyn OnStep,
    call: u64,
    calls: u64,
}

impl<'a> Guided<'a> {
    /// For so many calls of [`Guided::denoise`] and of [`Guided::plain`].
    pub(crate) fn new(
        model: &'a DiffusionModel,
        request: &'a SampleRequest<'a>,
        denoisings: usize,
        plain: usize,
        on_step: &'a mut dyn OnStep,
    ) -> Self {
        let unprompted = (request.guidance_scale != 1.0).then(|| request.unwanted(&model.data));
        let known = request.conditions.known.as_ref().map(|known| Known {
            pixels: &known.pixels - model.data.mean,
            mask: known.mask.shallow_clone(),
        });
        let each = if unprompted.is_some() { 2 } else { 1 };
        Self {
            model,
            request,
            unprompted,
            known,
            on_step,
            call: 0,
            calls: (each * denoisings + plain) as u64,
        }
    }

    /// D(x; σ) under the request: D_u + w (D_c − D_u) (Ho & Salimans 2022), known pixels being what they are.
    pub(crate) fn denoise(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        let sigmas = vec![sigma; x.size()[0] as usize];
        let mut denoised = self.model.denoise(x, &sigmas, self.request.conditions);
        if let Some(unprompted) = &self.unprompted {
            let unconditional = self.model.denoise(x, &sigmas, unprompted);
            let scale = self.request.guidance_scale;
            denoised = &unconditional + (denoised - &unconditional) * scale;
            self.report(x, sigma)?;
        }
        self.report(x, sigma)?;
        let denoised = self.model.clip(denoised);
        Ok(self.known.as_ref().map_or(denoised.shallow_clone(), |known| known.over(&denoised)))
    }

    /// D(x; σ) under other conditions, neither guided nor knowing anything.
    pub(crate) fn plain(
        &mut self,
        x: &Tensor,
        sigma: f64,
        conditions: &Conditions,
    ) -> Result<Tensor> {
        let sigmas = vec![sigma; x.size()[0] as usize];
        let denoised = self.model.denoise(x, &sigmas, conditions);
        self.report(x, sigma)?;
        Ok(self.model.clip(denoised))
    }

    /// A call was made; the picture so far is as [`Noising`](paragone_core::Noising) shows it: scaled to unit variance.
    fn report(&mut self, x: &Tensor, sigma: f64) -> Result<()> {
        self.call += 1;
        let shown = || self.model.picture(&(x / (1.0 + sigma * sigma).sqrt()));
        self.on_step.step(Progress { call: self.call, calls: self.calls, images: &shown })
    }
}
