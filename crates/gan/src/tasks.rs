//! Completing and changing images by way of their latents.

use crate::{
    latents::Target,
    model::{Model, refuse_guidance},
};
use paragone_core::{Batch, Edit, Inpaint, Latents, OnStep, Progress, Result, SampleRequest};
use tch::{Tensor, no_grad};

/// The draw of an edit's new latents, between those of sampling and those of a search.
const NEW: u64 = 1 << 32;

/// A model that was shown known pixels in training makes the image around them in one call. Any other searches the latent whose
/// image fits the known pixels best, and takes the hole from that (Yeh et al. 2017, without the discriminator's part and without
/// blending: known pixels are put in as they are).
impl Inpaint for Model {
    fn method(&self) -> String {
        if self.data.known_pixels {
            return "shown known pixels in training".to_owned();
        }
        format!("search of a latent for the known pixels, {} steps", self.config.inversion_steps)
    }

    fn inpaint(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        request.check()?;
        refuse_guidance(request)?;
        let known = request.conditions.known.as_ref();
        let known = known.expect("a request to in-paint has known pixels");
        if self.data.known_pixels {
            return Ok(known.over(&self.draw(request, on_step)?));
        }
        let filled = known.filled(0.0);
        let target =
            Target { images: &filled, weight: Some(&known.mask), conditions: request.conditions };
        let calls = self.search_calls() + 1;
        let z = self.search(&target, request.noise, &mut |call, images| {
            on_step.step(Progress { call, calls, images: &|| known.over(&images()) })
        })?;
        let made = no_grad(|| self.decode(&z, request))?;
        let completed = known.over(&made);
        on_step.step(Progress { call: calls, calls, images: &|| completed.shallow_clone() })?;
        Ok(completed)
    }
}

/// The latent that explains the source best under its own conditions, mixed with a new one and shown under those asked for:
/// √(1 − s²) z + s ε at strength s. What its own latent fails to bring back of the source is added in part, (1 − s).
impl Edit for Model {
    fn method(&self) -> String {
        let steps = self.config.inversion_steps;
        format!(
            "its latent, found in {steps} steps, in part a new one, shown under what is asked for"
        )
    }

    fn reads_source(&self) -> bool {
        true
    }

    fn edit(
        &self,
        source: &Batch,
        request: &SampleRequest,
        strength: f64,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        request.check()?;
        refuse_guidance(request)?;
        if strength == 0.0 {
            return Ok(source.images.copy());
        }
        let conditions = &source.conditions;
        let target = Target { images: &source.images, weight: None, conditions };
        let calls = self.search_calls() + 2;
        let z = self.search(&target, request.noise, &mut |call, images| {
            on_step.step(Progress { call, calls, images })
        })?;
        let shown =
            |z: &Tensor, conditions| no_grad(|| self.mean_image(z, conditions)).clamp(-1.0, 1.0);
        let missing = &source.images - shown(&z, conditions);
        on_step.step(Progress {
            call: calls - 1,
            calls,
            images: &|| source.images.shallow_clone(),
        })?;
        let new = request.noise.normal(NEW, &[self.latent_dim()]) * request.temperature;
        let z = z * (1.0 - strength * strength).sqrt() + new * strength;
        let edited = shown(&z, request.conditions) + missing * (1.0 - strength);
        let edited = edited.clamp(-1.0, 1.0);
        on_step.step(Progress { call: calls, calls, images: &|| edited.shallow_clone() })?;
        Ok(source.kept(request.conditions, edited))
    }
}
