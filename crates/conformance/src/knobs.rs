//! Guidance and temperature: at 1 they do nothing, elsewhere what they say, or they are refused.

use crate::{
    Check, Subject,
    check::checks,
    subject::Learner,
    watch::{distance, is_image},
};
use anyhow::{Result, bail, ensure};
use paragone_core::{Conditions, Error, Noise, SampleRequest};
use tch::{Device, Kind, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    guidance_moves_towards_the_condition_or_is_refused,
    a_low_temperature_narrows_or_is_refused,
    knobs_beyond_their_range_are_refused,
];

/// Pushed towards the condition, images still show what was asked for, and are others.
fn guidance_moves_towards_the_condition_or_is_refused(subject: &Subject) -> Result<()> {
    let Learner { coded, .. } = subject.learner()?;
    let classes = coded.classes(&SEEDS);
    let conditions = coded.conditions(&classes);
    let plain = draw(subject, &conditions, 1.0, 1.0)?.ok_or(Error::Stopped)?;
    let Some(guided) = draw(subject, &conditions, 2.0, 1.0)? else { return Ok(()) };
    is_image(&guided, &coded.data.shape.batch(SEEDS.len() as i64))?;
    ensure!(distance(&guided, &plain) > 1e-4, "guidance 2 changes nothing");
    let right =
        |images: &Tensor| coded.shown(images).iter().zip(&classes).filter(|(a, b)| a == b).count();
    let (guided, plain) = (right(&guided), right(&plain));
    ensure!(
        guided + 1 >= plain,
        "of {} images {plain} show what was asked for without guidance, {guided} with it",
        SEEDS.len()
    );
    // Nothing is asked for: there is nothing to push towards.
    let nothing = coded.conditions(&[coded.data.null_class(); SEEDS.len()]);
    let plain = draw(subject, &nothing, 1.0, 1.0)?.ok_or(Error::Stopped)?;
    let Some(guided) = draw(subject, &nothing, 2.0, 1.0)? else {
        bail!("guidance is offered for a class, but not for none");
    };
    let apart = (&guided - &plain).abs().mean(Kind::Double).double_value(&[]);
    ensure!(apart < 0.01, "guidance without a condition changes a pixel by {apart} in the mean");
    Ok(())
}

/// Images of one class under different seeds vary less.
fn a_low_temperature_narrows_or_is_refused(subject: &Subject) -> Result<()> {
    let Learner { coded, .. } = subject.learner()?;
    let conditions = coded.conditions(&[1; SEEDS.len()]);
    let Some(narrow) = draw(subject, &conditions, 1.0, 0.2)? else { return Ok(()) };
    is_image(&narrow, &coded.data.shape.batch(SEEDS.len() as i64))?;
    let plain = draw(subject, &conditions, 1.0, 1.0)?.ok_or(Error::Stopped)?;
    let spread = |images: &Tensor| {
        let variance = images.to_kind(Kind::Double).var_dim([0i64].as_slice(), true, false);
        variance.mean(Kind::Double).double_value(&[])
    };
    let (narrow, plain) = (spread(&narrow), spread(&plain));
    ensure!(narrow < plain, "variance over seeds {narrow} at temperature 0.2, {plain} at 1");
    Ok(())
}

/// Rather than answered with images that look like any others.
fn knobs_beyond_their_range_are_refused(subject: &Subject) -> Result<()> {
    let Learner { coded, .. } = subject.learner()?;
    let conditions = coded.conditions(&[1; SEEDS.len()]);
    for (guidance_scale, temperature) in
        [(1.0, -0.5), (1.0, f64::NAN), (1.0, f64::INFINITY), (f64::NAN, 1.0), (f64::INFINITY, 1.0)]
    {
        let drawn = draw(subject, &conditions, guidance_scale, temperature)?;
        ensure!(drawn.is_none(), "images at guidance {guidance_scale}, temperature {temperature}");
    }
    Ok(())
}

const SEEDS: [u64; 16] = [4, 3, 2, 1, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// Images of the trained model; `None` when the knob is refused, which must be by its name.
fn draw(
    subject: &Subject,
    conditions: &Conditions,
    guidance_scale: f64,
    temperature: f64,
) -> Result<Option<Tensor>> {
    let model = subject.learner()?.trainer.ema();
    let noise = Noise::new(SEEDS.to_vec(), Device::Cpu);
    let plain = SampleRequest::new(conditions, &noise);
    let request = SampleRequest { guidance_scale, temperature, ..plain };
    let drawn = tch::no_grad(|| {
        model
            .sample(&request, &mut |_: paragone_core::Progress| std::ops::ControlFlow::Continue(()))
    });
    match drawn {
        Ok(images) => Ok(Some(images)),
        Err(Error::Unsupported(reason)) => {
            let knob = if guidance_scale != 1.0 { "guidance_scale" } else { "temperature" };
            ensure!(reason.contains(knob), "{reason:?} does not name {knob}");
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}
