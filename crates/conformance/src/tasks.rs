//! In-painting and editing, of the families that do them.

use crate::{
    Check, Subject,
    check::checks,
    subject::Learner,
    watch::{distance, is_image, stops, watched},
};
use anyhow::{Result, ensure};
use paragone_core::{Known, Noise, OnStep, SampleRequest};
use tch::{Device, Kind, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] =
    checks![in_painting_keeps_known_pixels, an_edit_of_no_strength_is_the_source];

/// Bit for bit; and what was unknown is made.
fn in_painting_keeps_known_pixels(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let Ok(inpaint) = trainer.ema().inpaint() else { return Ok(()) };
    let images = coded.images(&SEEDS);
    let mut conditions = coded.conditions(&coded.classes(&SEEDS));
    let mask = Tensor::ones([SEEDS.len() as i64, 1, images.size()[2], images.size()[3]], OPTIONS);
    let _ = mask.narrow(3, 2, 4).narrow(2, 1, 5).fill_(0.0);
    // What is not known must not be looked at: it is not a number.
    let pixels = images.where_self(&mask.to_kind(Kind::Bool), &Tensor::from(f32::NAN));
    conditions.known = Some(Known { pixels, mask: mask.shallow_clone() });
    let noise = Noise::new(SEEDS.to_vec(), Device::Cpu);
    let request = SampleRequest::new(&conditions, &noise);
    let make = |on_step: &mut dyn OnStep| tch::no_grad(|| inpaint.inpaint(&request, on_step));
    let (completed, calls) = watched(&coded.data.shape, SEEDS.len() as i64, make)?;
    is_image(&completed, &images.size())?;
    let known = |t: &Tensor| t.masked_select(&mask.expand_as(t).to_kind(Kind::Bool));
    ensure!(known(&completed).equal(&known(&images)), "known pixels have changed");
    stops(calls, make)
}

fn an_edit_of_no_strength_is_the_source(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let Ok(edit) = trainer.ema().edit() else { return Ok(()) };
    let source = coded.batch(&SEEDS);
    let asked = coded.conditions(&SEEDS.map(|seed| coded.class(seed + 1)));
    let noise = Noise::new(SEEDS.to_vec(), Device::Cpu);
    let request = SampleRequest::new(&asked, &noise);
    let make = |strength: f64| {
        let (source, request) = (&source, &request);
        move |on_step: &mut dyn OnStep| {
            tch::no_grad(|| edit.edit(source, request, strength, on_step))
        }
    };
    let mut ignore = |_: paragone_core::Progress| std::ops::ControlFlow::Continue(());
    let apart = distance(&make(0.0)(&mut ignore)?, &source.images);
    ensure!(apart == 0.0, "at strength 0 the source differs by {apart}");
    let (edited, calls) = watched(&coded.data.shape, source.len(), make(0.8))?;
    is_image(&edited, &source.images.size())?;
    ensure!(distance(&edited, &source.images) > 0.01, "at strength 0.8 nothing changes");
    stops(calls, make(0.8))
}

const SEEDS: [u64; 4] = [1, 2, 3, 4];
const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);
