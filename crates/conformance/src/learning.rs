//! Whether a family learns.

use crate::{
    Check, Coded, Subject,
    check::checks,
    subject::{Learner, context, options, sample},
    watch::{distance, mean_square, right, unwatched},
};
use anyhow::{Result, ensure};
use paragone::train::Trainer;
use std::collections::BTreeSet;
use tch::{Kind, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    it_overfits_one_batch,
    samples_come_near_the_images,
    it_draws_the_class_that_is_asked_for,
    it_draws_what_the_caption_says,
    dropped_conditions_ask_for_nothing,
];

/// Shown the same eight images again and again, the first phase's loss falls: a likelihood rises, noise is told from
/// image, or images are told from fakes (which lasts only until these are better, hence the lowest of the means).
fn it_overfits_one_batch(subject: &Subject) -> Result<()> {
    const STEPS: u64 = 120;
    const WINDOW: usize = 10;
    let coded = Coded::new(Coded::GRAY);
    let batch = coded.batch(&(1..9).collect::<Vec<_>>());
    let mut trainer = subject.trainer(&coded.data, options())?;
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let scalars = trainer.step(&batch, &context(step, STEPS, 8))?;
        losses.push(scalars[0].1.double_value(&[]));
    }
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    // Warm-up takes a few steps in which nothing can be learnt.
    let start = mean(&losses[..WINDOW / 2]);
    let lowest = losses.windows(WINDOW).map(mean).fold(f64::INFINITY, f64::min);
    ensure!(
        lowest < start - 0.25 * start.abs(),
        "the loss begins at {start} and never falls below {lowest}"
    );
    Ok(())
}

/// Samples of a trained model are nearer to what they were asked to be than those of an untrained one, by far.
fn samples_come_near_the_images(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let untrained = subject.trainer(&coded.data, options())?;
    let error = |trainer: &Trainer| -> Result<f64> {
        let (images, classes) = draw(coded, trainer)?;
        let templates = coded.templates().index_select(0, &Tensor::from_slice(&classes));
        Ok(mean_square(&images, &templates).mean(Kind::Double).double_value(&[]))
    };
    let (before, after) = (error(&untrained)?, error(trainer)?);
    ensure!(after < 0.5 * before, "mean squared distance {before} untrained, {after} trained");
    Ok(())
}

/// The nearest template is that of the class asked for.
fn it_draws_the_class_that_is_asked_for(subject: &Subject) -> Result<()> {
    draws_what_is_asked_for(subject.learner()?)
}

/// A model that has captions and no classes follows them just so.
fn it_draws_what_the_caption_says(subject: &Subject) -> Result<()> {
    draws_what_is_asked_for(subject.reader()?)
}

fn draws_what_is_asked_for(Learner { coded, trainer }: &Learner) -> Result<()> {
    let (images, classes) = draw(coded, trainer)?;
    let right = right(&coded.shown(&images), &classes);
    ensure!(
        right as f64 >= 0.8 * classes.len() as f64,
        "{right} of {} samples show what was asked for",
        classes.len()
    );
    Ok(())
}

/// The same seeds under no condition draw other images, of more than one class.
fn dropped_conditions_ask_for_nothing(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let seeds: Vec<u64> = (0..24).collect();
    let of = |class: i64| {
        let conditions = coded.conditions(&[class; 24]);
        unwatched(|on_step| sample(trainer.ema(), &conditions, &seeds, on_step))
    };
    let (asked, dropped) = (of(1)?, of(coded.nothing())?);
    ensure!(distance(&asked, &dropped) > 0.1, "a dropped condition draws what class 1 does");
    let classes: BTreeSet<i64> = coded.shown(&dropped).into_iter().collect();
    ensure!(classes.len() > 1, "of 24 images that may be of any class, all are of {classes:?}");
    Ok(())
}

/// Eight samples of each class.
fn draw(coded: &Coded, trainer: &Trainer) -> Result<(Tensor, Vec<i64>)> {
    let seeds: Vec<u64> = (0..32).collect();
    let classes = coded.classes(&seeds);
    let conditions = coded.conditions(&classes);
    let images = unwatched(|on_step| sample(trainer.ema(), &conditions, &seeds, on_step))?;
    Ok((images, classes))
}
