//! What a sampler reports, and how it ends when told to.

use crate::{
    Check, Subject,
    check::checks,
    subject::{Learner, sample},
    watch::{distance, stops, unwatched, watched},
};
use anyhow::{Result, ensure};
use paragone_core::Progress;
use std::ops::ControlFlow;
use tch::Tensor;

/// The checks of this subject.
pub const CHECKS: &[Check] =
    checks![every_network_call_is_reported, watching_changes_nothing, it_stops_when_told];

/// Calls count up to their number, each with a picture of the right shape; the last one is the sample, or nearly.
fn every_network_call_is_reported(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let conditions = coded.conditions(&[0, 1, 2]);
    let seeds = [1, 2, 3];
    let draw = |on_step: &mut dyn paragone_core::OnStep| {
        sample(trainer.ema(), &conditions, &seeds, on_step)
    };
    let (images, calls) = watched(&coded.data.shape, 3, draw)?;
    let mut last = Tensor::new();
    let mut keep = |progress: Progress| {
        if progress.call == calls {
            last = (progress.images)();
        }
        ControlFlow::Continue(())
    };
    let _ = sample(trainer.ema(), &conditions, &seeds, &mut keep)?;
    let apart = (&last - &images).abs().mean(tch::Kind::Double).double_value(&[]);
    ensure!(apart < 0.1, "the last picture reported is {apart} a pixel from the sample");
    Ok(())
}

/// The picture so far is made on request only, and making it disturbs nothing.
fn watching_changes_nothing(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let conditions = coded.conditions(&[0, 3]);
    let seeds = [8, 9];
    let (watched, _) = watched(&coded.data.shape, 2, |on_step| {
        sample(trainer.ema(), &conditions, &seeds, on_step)
    })?;
    let unwatched = unwatched(|on_step| sample(trainer.ema(), &conditions, &seeds, on_step))?;
    let apart = distance(&watched, &unwatched);
    ensure!(watched.equal(&unwatched), "a watched sample differs by {apart} from an unwatched one");
    Ok(())
}

fn it_stops_when_told(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let conditions = coded.conditions(&[2, 1]);
    let draw = |on_step: &mut dyn paragone_core::OnStep| {
        sample(trainer.ema(), &conditions, &[1, 2], on_step)
    };
    let (_, calls) = watched(&coded.data.shape, 2, draw)?;
    stops(calls, draw)
}
