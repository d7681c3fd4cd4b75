//! Guidance and temperature: at 1 they do nothing, elsewhere what they say, or they are refused.

use crate::{
    Check, Subject,
    check::checks,
    subject::Learner,
    watch::{distance, is_image, right},
};
use anyhow::{Result, bail, ensure};
use paragone_core::{Conditions, Error, Noise, SampleRequest};
use tch::{Device, Kind, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    guidance_moves_towards_the_condition_or_is_refused,
    guidance_moves_away_from_what_is_unwanted_or_is_refused,
    a_low_temperature_narrows_or_is_refused,
    knobs_beyond_their_range_are_refused,
];

/// Pushed towards the condition, images still show what was asked for, and are others.
fn guidance_moves_towards_the_condition_or_is_refused(subject: &Subject) -> Result<()> {
    let Learner { coded, .. } = subject.learner()?;
    let classes = coded.classes(&SEEDS);
    let conditions = coded.conditions(&classes);
    let plain = draw(subject, &conditions, PLAIN)?.ok_or(Error::Stopped)?;
    let Some(guided) = draw(subject, &conditions, GUIDED)? else { return Ok(()) };
    is_image(&guided, &coded.data.shape.batch(SEEDS.len() as i64))?;
    ensure!(distance(&guided, &plain) > 1e-4, "guidance 2 changes nothing");
    let right = |images: &Tensor| right(&coded.shown(images), &classes);
    let (guided, plain) = (right(&guided), right(&plain));
    ensure!(
        guided + 1 >= plain,
        "of {} images {plain} show what was asked for without guidance, {guided} with it",
        SEEDS.len()
    );
    // Nothing is asked for: there is nothing to push towards.
    let nothing = coded.conditions(&[coded.nothing(); SEEDS.len()]);
    let plain = draw(subject, &nothing, PLAIN)?.ok_or(Error::Stopped)?;
    let Some(guided) = draw(subject, &nothing, GUIDED)? else {
        bail!("guidance is offered for a class, but not for none");
    };
    let apart = (&guided - &plain).abs().mean(Kind::Double).double_value(&[]);
    ensure!(apart < 0.01, "guidance without a condition changes a pixel by {apart} in the mean");
    Ok(())
}

/// What is unwanted takes the place of the unconditional model: pushed away from what is asked for, nothing moves.
fn guidance_moves_away_from_what_is_unwanted_or_is_refused(subject: &Subject) -> Result<()> {
    let Learner { coded, .. } = subject.learner()?;
    let classes = coded.classes(&SEEDS);
    let (asked, other) = (coded.conditions(&classes), coded.conditions(&[0; SEEDS.len()]));
    let away_from = |negative| draw(subject, &asked, Knobs { negative, ..GUIDED });
    let Some(guided) = away_from(None)? else { return Ok(()) };
    let elsewhere = away_from(Some(&other))?.ok_or(Error::Stopped)?;
    ensure!(distance(&guided, &elsewhere) > 1e-4, "what is unwanted changes nothing");
    let nowhere = away_from(Some(&asked))?.ok_or(Error::Stopped)?;
    let plain = draw(subject, &asked, PLAIN)?.ok_or(Error::Stopped)?;
    let apart = (&nowhere - &plain).abs().mean(Kind::Double).double_value(&[]);
    ensure!(apart < 0.01, "pushed away from what is asked for, a pixel moves by {apart}");
    Ok(())
}

/// Images of one class under different seeds vary less.
fn a_low_temperature_narrows_or_is_refused(subject: &Subject) -> Result<()> {
    let Learner { coded, .. } = subject.learner()?;
    let conditions = coded.conditions(&[1; SEEDS.len()]);
    let Some(narrow) = draw(subject, &conditions, Knobs { temperature: 0.2, ..PLAIN })? else {
        return Ok(());
    };
    is_image(&narrow, &coded.data.shape.batch(SEEDS.len() as i64))?;
    let plain = draw(subject, &conditions, PLAIN)?.ok_or(Error::Stopped)?;
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
        let drawn = draw(subject, &conditions, Knobs { guidance_scale, temperature, ..PLAIN })?;
        ensure!(drawn.is_none(), "images at guidance {guidance_scale}, temperature {temperature}");
    }
    Ok(())
}

const SEEDS: [u64; 16] = [4, 3, 2, 1, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// What a request may turn.
#[derive(Debug, Clone, Copy)]
struct Knobs<'a> {
    guidance_scale: f64,
    negative: Option<&'a Conditions>,
    temperature: f64,
}

const PLAIN: Knobs = Knobs { guidance_scale: 1.0, negative: None, temperature: 1.0 };
const GUIDED: Knobs = Knobs { guidance_scale: 2.0, ..PLAIN };

/// Images of the trained model; `None` when the knob is refused, which must be by its name.
fn draw(subject: &Subject, conditions: &Conditions, knobs: Knobs) -> Result<Option<Tensor>> {
    let model = subject.learner()?.trainer.ema();
    let noise = Noise::new(SEEDS.to_vec(), Device::Cpu);
    let Knobs { guidance_scale, negative, temperature } = knobs;
    let request =
        SampleRequest { conditions, noise: &noise, guidance_scale, negative, temperature };
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
