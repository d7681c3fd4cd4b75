//! Saving, loading and going on equals never stopping, bit for bit.

use crate::{
    Check, Coded, Subject,
    check::checks,
    subject::{build, context, options, sample},
    trial::equal_bits,
    watch::unwatched,
};
use anyhow::{Context, Result, ensure};
use paragone::{
    config::Precision,
    train::{Checkpoints, State, Trainer, TrainerOptions, named_variables, read_tensors},
};
use tch::Tensor;

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    the_same_seed_trains_the_same_weights,
    a_resumed_run_equals_an_uninterrupted_one,
    a_checkpoint_is_the_whole_model,
];

/// And another seed others.
fn the_same_seed_trains_the_same_weights(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let trained = |seed: u64| -> Result<Trainer> {
        let mut trainer = subject.trainer(&coded.data, TrainerOptions { seed, ..options() })?;
        go(&mut trainer, &coded, 0, 3)?;
        Ok(trainer)
    };
    let (first, second, other) = (trained(3)?, trained(3)?, trained(4)?);
    equal_bits(&first.model_state(), &second.model_state()).context("two runs of one seed")?;
    ensure!(
        equal_bits(&first.model_state(), &other.model_state()).is_err(),
        "seeds 3 and 4 train the same weights"
    );
    Ok(())
}

/// Weights, buffers, averages and optimisers, in f32 and in bf16, stopped after an even and after an odd step.
fn a_resumed_run_equals_an_uninterrupted_one(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    for (precision, stop) in [(Precision::F32, 3), (Precision::Bf16, 4)] {
        let options = TrainerOptions { precision, ema_half_life: 20.0, ..options() };
        let mut uninterrupted = subject.trainer(&coded.data, options.clone())?;
        go(&mut uninterrupted, &coded, 0, STEPS)?;

        let dir = tempfile::tempdir()?;
        let checkpoints = Checkpoints::new(dir.path().join("checkpoints"));
        let mut stopped = subject.trainer(&coded.data, options.clone())?;
        go(&mut stopped, &coded, 0, stop)?;
        let state = State { step: stop, images: stop * BATCH, ..State::default() };
        checkpoints.save(&stopped, &state, 1)?;
        // What it does after saving is lost.
        go(&mut stopped, &coded, stop, STEPS)?;

        let mut resumed = subject.trainer(&coded.data, TrainerOptions { seed: 3, ..options })?;
        let found = checkpoints.resume(&resumed)?.context("a checkpoint")?;
        ensure!(found == state, "{found:?} is not {state:?}");
        go(&mut resumed, &coded, found.step, STEPS)?;

        let what = format!("{}, stopped after step {stop}", precision.name());
        let same = |part: &str, of: fn(&Trainer) -> Vec<(String, Tensor)>| {
            equal_bits(&of(&uninterrupted), &of(&resumed))
                .with_context(|| format!("{what}, {part}"))
        };
        same("weights and buffers", Trainer::model_state)?;
        same("averages", Trainer::ema_state)?;
        same("optimisers", Trainer::optimizer_state)?;
    }
    Ok(())
}

/// The averaged weights, read into a model that was never trained, draw the same images: no state lives elsewhere.
fn a_checkpoint_is_the_whole_model(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let mut trainer = subject.trainer(&coded.data, options())?;
    go(&mut trainer, &coded, 0, STEPS)?;
    let dir = tempfile::tempdir()?;
    let checkpoints = Checkpoints::new(dir.path().join("checkpoints"));
    checkpoints.save(&trainer, &State { step: STEPS, ..State::default() }, 1)?;

    let (vars, model) = build(&*subject.tiny(), &coded.data)?;
    read_tensors(&checkpoints.latest_ema()?, &named_variables(&vars))?;
    let conditions = coded.conditions(&[0, 1, 2, 4]);
    let seeds = [1, 2, 3, 4];
    let saved = unwatched(|on_step| sample(&*model, &conditions, &seeds, on_step))?;
    let kept = unwatched(|on_step| sample(trainer.ema(), &conditions, &seeds, on_step))?;
    ensure!(saved.equal(&kept), "the model read back draws other images");
    Ok(())
}

const STEPS: u64 = 7;
const BATCH: u64 = 6;

fn go(trainer: &mut Trainer, coded: &Coded, from: u64, to: u64) -> Result<()> {
    for step in from..to {
        trainer.step(&coded.nth_batch(step, BATCH), &context(step, STEPS, BATCH))?;
    }
    Ok(())
}
