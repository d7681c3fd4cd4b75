//! Completing and changing images in the order in which they are drawn.

use crate::{
    model::PixelCnn,
    sampler::{self, Kept},
};
use paragone_core::{Batch, Edit, Inpaint, OnStep, Result, SampleRequest, to_levels};
use tch::{Kind, Tensor};

/// Nats that a pixel of the source is worth in an edit, for every e-th part of full strength.
const NATS: f64 = 10.0;

/// Known pixels are put in as the raster comes to them, and the others drawn given all that came before. A model that was not
/// shown known pixels in training sees none of those that are still to come.
impl Inpaint for PixelCnn {
    fn method(&self) -> String {
        if self.data.known_pixels {
            "shown known pixels in training; raster order".to_owned()
        } else {
            "raster order: sees only known pixels above and to the left".to_owned()
        }
    }

    fn inpaint(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        let known = request.conditions.known.as_ref();
        let known = known.expect("a request to in-paint has known pixels");
        let kept = Kept {
            levels: to_levels(&known.filled(0.0)),
            certain: known.mask.to_kind(Kind::Bool),
            bonus: 0.0,
        };
        let images = sampler::sample(&self.network, &self.data, request, Some(&kept), on_step)?;
        Ok(known.over(&images))
    }
}

/// The raster is drawn again under what is asked for, but a pixel stays as it was unless that has become unlikely: the source's
/// value of a pixel is worth −10 ln(strength) nats more than its log-probability.
impl Edit for PixelCnn {
    fn method(&self) -> String {
        "raster order; a pixel stays unless what is asked for makes it unlikely".to_owned()
    }

    fn reads_source(&self) -> bool {
        false
    }

    fn edit(
        &self,
        source: &Batch,
        request: &SampleRequest,
        strength: f64,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        if strength == 0.0 {
            return Ok(source.images.copy());
        }
        let levels = to_levels(&source.images);
        let nothing = || levels.narrow(1, 0, 1).zeros_like().to_kind(Kind::Bool);
        let mask = request.conditions.known.as_ref().map(|known| known.mask.to_kind(Kind::Bool));
        let kept =
            Kept { certain: mask.unwrap_or_else(nothing), bonus: -NATS * strength.ln(), levels };
        let images = sampler::sample(&self.network, &self.data, request, Some(&kept), on_step)?;
        Ok(source.kept(request.conditions, images))
    }
}
