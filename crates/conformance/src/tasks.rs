//! In-painting and editing, of the families that do them.

use crate::{
    Check, Subject,
    check::checks,
    subject::Learner,
    watch::{distance, is_image, right, stops, unwatched, watched},
};
use anyhow::{Result, ensure};
use paragone_core::{Batch, Conditions, Error, Known, Noise, OnStep, SampleRequest};
use tch::{Device, Kind, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    in_painting_keeps_known_pixels,
    shown_pixels_decide_the_rest,
    an_edit_of_no_strength_is_the_source,
    a_masked_edit_keeps_the_rest,
    an_edit_reads_what_it_says_it_reads,
];

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

/// A model that was shown the lower half of images continues it upwards, told nothing else: tables say that it was trained to.
fn shown_pixels_decide_the_rest(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.reader()?;
    let Ok(inpaint) = trainer.ema().inpaint() else { return Ok(()) };
    let numbers: Vec<u64> = (0..32).collect();
    let nothing = coded.conditions(&[coded.nothing(); 32]);
    let conditions = nothing.with_known(Some(coded.lower_half(&coded.images(&numbers))));
    let noise = Noise::new(numbers.clone(), Device::Cpu);
    let request = SampleRequest::new(&conditions, &noise);
    let completed = unwatched(|on_step| tch::no_grad(|| inpaint.inpaint(&request, on_step)))?;
    // The lower half shows the class anyway.
    let height = coded.data.shape.height;
    let _ = completed.narrow(2, height / 2, height - height / 2).fill_(0.0);
    let right = right(&coded.shown(&completed), &coded.classes(&numbers));
    ensure!(5 * right >= 4 * 32, "{right} of 32 upper halves continue the lower ones");
    Ok(())
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
    let guided = SampleRequest { guidance_scale: 2.0, ..request };
    let guided = watched(&coded.data.shape, source.len(), |on_step| {
        tch::no_grad(|| edit.edit(&source, &guided, 0.8, on_step))
    });
    if let Err(error) = guided {
        let refused = matches!(error.downcast_ref(), Some(Error::Unsupported(_)));
        ensure!(refused, "guided: {error:#}");
    }
    stops(calls, make(0.8))
}

/// Bit for bit, and what the mask leaves open changes.
fn a_masked_edit_keeps_the_rest(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let Ok(edit) = trainer.ema().edit() else { return Ok(()) };
    let source = coded.batch(&SEEDS);
    let known = coded.lower_half(&source.images);
    let mask = known.mask.shallow_clone();
    let asked = coded.conditions(&SEEDS.map(|seed| coded.class(seed + 1))).with_known(Some(known));
    let noise = Noise::new(SEEDS.to_vec(), Device::Cpu);
    let request = SampleRequest::new(&asked, &noise);
    let edited = unwatched(|on_step| tch::no_grad(|| edit.edit(&source, &request, 0.8, on_step)))?;
    is_image(&edited, &source.images.size())?;
    let part = |images: &Tensor, mask: Tensor| images.masked_select(&mask.expand_as(images));
    let same = |mask: &Tensor| {
        part(&edited, mask.shallow_clone()).equal(&part(&source.images, mask.shallow_clone()))
    };
    ensure!(same(&mask.eq(1.0)), "pixels outside the hole have changed");
    ensure!(!same(&mask.eq(0.0)), "nothing in the hole has changed");
    Ok(())
}

/// What the source is said to show changes an edit, or the family says that it does not.
fn an_edit_reads_what_it_says_it_reads(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let Ok(edit) = trainer.ema().edit() else { return Ok(()) };
    let source = coded.batch(&SEEDS);
    let told = |more: u64| coded.conditions(&SEEDS.map(|seed| coded.class(seed + more)));
    let (asked, noise) = (told(1), Noise::new(SEEDS.to_vec(), Device::Cpu));
    let request = SampleRequest::new(&asked, &noise);
    let edited = |conditions: Conditions| {
        let source = Batch { images: source.images.shallow_clone(), conditions };
        unwatched(|on_step| tch::no_grad(|| edit.edit(&source, &request, 0.5, on_step)))
    };
    let apart = distance(&edited(told(0))?, &edited(told(1))?);
    ensure!(edit.reads_source() == (apart > 0.0), "told otherwise, edits are {apart} apart");
    Ok(())
}

const SEEDS: [u64; 4] = [1, 2, 3, 4];
const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);
