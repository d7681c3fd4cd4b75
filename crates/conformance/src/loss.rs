//! The value of a loss.

use crate::{
    Check, Coded, Subject,
    check::checks,
    subject::{context, options},
    trial::equal_bits,
    watch::is_finite,
};
use anyhow::{Context, Result, ensure};
use paragone::{config::Precision, train::TrainerOptions};
use paragone_core::{Batch, Generator, Loss, Phase};
use std::collections::BTreeSet;
use tch::{Kind, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    a_loss_is_a_number_with_a_graph,
    its_chance_comes_from_libtorch_s_generator,
    it_is_a_sum_over_images,
    it_is_a_mean_over_images,
    accumulation_changes_nothing,
    bf16_changes_little,
];

fn a_loss_is_a_number_with_a_graph(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let (_vars, model) = subject.perturbed(&coded.data)?;
    for phase in model.phases() {
        let loss = lose(&*model, &phase, &coded.nth_batch(0, 6), 1)?;
        let what = |what: &str| format!("phase {}: {what}", phase.name);
        let scalar = |t: &Tensor| t.size().is_empty() && t.kind() == Kind::Float;
        ensure!(scalar(&loss.total), "{} {:?}", what("its total is no f32 scalar:"), loss.total);
        ensure!(loss.total.requires_grad(), "{}", what("its total has no graph"));
        is_finite(&loss.total).with_context(|| what("total"))?;
        ensure!(!loss.scalars.is_empty(), "{}", what("nothing to log"));
        for (name, value) in &loss.scalars {
            ensure!(scalar(value), "{} {value:?}", what(&format!("{name} is no f32 scalar:")));
            ensure!(!value.requires_grad(), "{}", what(&format!("{name} is not detached")));
            is_finite(value).with_context(|| what(name))?;
        }
        let names: BTreeSet<&str> = loss.scalars.iter().map(|(name, _)| *name).collect();
        ensure!(names.len() == loss.scalars.len(), "{}", what("two scalars of one name"));
        let attached = loss.statistics.iter().any(Tensor::requires_grad);
        ensure!(!attached, "{}", what("statistics are not detached"));
    }
    Ok(())
}

/// Which the runner seeds for this very call; so a resumed run needs no generator state.
fn its_chance_comes_from_libtorch_s_generator(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let (_vars, model) = subject.perturbed(&coded.data)?;
    for phase in model.phases() {
        let value =
            || Ok::<_, anyhow::Error>(lose(&*model, &phase, &coded.nth_batch(0, 6), 9)?.total);
        let (first, second) = (value()?, value()?);
        ensure!(first.equal(&second), "{}: {first:?} and then {second:?}", phase.name);
    }
    Ok(())
}

/// Changing one image changes the loss by the same amount whatever another image is: no statistics of the batch. That is
/// what makes gradients averaged over micro-batches and workers those of the whole batch.
fn it_is_a_sum_over_images(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let (_vars, model) = subject.perturbed(&coded.data)?;
    for phase in model.phases() {
        // Images 0 and 1 are each taken or replaced by another of another class.
        let total = |first: u64, second: u64| {
            let batch = coded.batch(&[first, second, 2, 3, 4, 5, 6, 7]);
            Ok::<f64, anyhow::Error>(lose(&*model, &phase, &batch, 4)?.total.double_value(&[]))
        };
        let (neither, one, other, both) =
            (total(0, 1)?, total(11, 1)?, total(0, 14)?, total(11, 14)?);
        let mixed = both - one - other + neither;
        let scale = (one - neither).abs() + (other - neither).abs();
        ensure!(scale > 0.0, "{}: the loss does not depend on its images", phase.name);
        let rounding = 1e-5 * neither.abs().max(1.0);
        ensure!(
            mixed.abs() <= 1e-3 * scale + rounding,
            "{}: one image's share changes by {mixed} with another image, of {scale}",
            phase.name
        );
    }
    Ok(())
}

/// The same images four times over lose as much.
fn it_is_a_mean_over_images(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let (_vars, model) = subject.perturbed(&coded.data)?;
    let numbers: Vec<u64> = (0..8).collect();
    for phase in model.phases() {
        let mean = |batch: &Batch| -> Result<(f64, f64)> {
            let draws = 24;
            let total = |seed| Ok::<_, anyhow::Error>(lose(&*model, &phase, batch, seed)?.total);
            let totals: Vec<Tensor> = (0..draws).map(total).collect::<Result<_>>()?;
            let totals = Tensor::stack(&totals, 0).to_kind(Kind::Double);
            let error = totals.std(true).double_value(&[]) / (draws as f64).sqrt();
            Ok((totals.mean(Kind::Double).double_value(&[]), error))
        };
        let (once, error) = mean(&coded.batch(&numbers))?;
        let (four_times, other_error) = mean(&coded.batch(&numbers.repeat(4)))?;
        let tolerance = 0.02 * once.abs() + 5.0 * (error + other_error);
        ensure!(
            (once - four_times).abs() <= tolerance,
            "{}: {once} on 8 images, {four_times} on the same four times over (tolerance {tolerance})",
            phase.name
        );
    }
    Ok(())
}

/// For a phase without chance, micro-batches make the same weights. Chance is drawn anew for every micro-batch, so with it
/// there is nothing to compare; that its loss is a sum over images is what is checked above.
fn accumulation_changes_nothing(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let (_vars, model) = subject.perturbed(&coded.data)?;
    for phase in model.phases() {
        let total = |seed| {
            Ok::<_, anyhow::Error>(lose(&*model, &phase, &coded.nth_batch(0, 6), seed)?.total)
        };
        if !total(1)?.equal(&total(2)?) {
            return Ok(());
        }
    }
    let trained = |accumulate| -> Result<_> {
        let options = TrainerOptions { accumulate, ..options() };
        let mut trainer = subject.trainer(&coded.data, options)?;
        // One step: AdamW divides by the gradient's size, so that later steps magnify rounding.
        let scalars = trainer.step(&coded.nth_batch(0, 6), &context(1, 8, 6))?;
        Ok((trainer, scalars))
    };
    let ((_, whole), (_, cut)) = (trained(1)?, trained(4)?);
    for ((name, a), (_, b)) in whole.iter().zip(&cut) {
        let (a, b) = (a.double_value(&[]), b.double_value(&[]));
        ensure!(
            (a - b).abs() <= 1e-4 * a.abs().max(1e-3),
            "{name} is {a} whole and {b} cut in four"
        );
    }
    Ok(())
}

/// Under autocast a network rounds to eight bits of mantissa, the mathematics of the loss does not.
fn bf16_changes_little(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let trained = |precision| -> Result<Vec<(String, Tensor)>> {
        let mut trainer =
            subject.trainer(&coded.data, TrainerOptions { precision, ..options() })?;
        let scalars = trainer.step(&coded.nth_batch(0, 16), &context(0, 8, 16))?;
        for (name, value) in trainer.model_state() {
            ensure!(value.kind() != Kind::BFloat16, "{name} became bf16");
        }
        Ok(scalars)
    };
    let (full, half) = (trained(Precision::F32)?, trained(Precision::Bf16)?);
    let mut differ = false;
    for ((name, a), (_, b)) in full.iter().zip(&half) {
        let (a, b) = (a.double_value(&[]), b.double_value(&[]));
        differ |= a != b;
        ensure!((a - b).abs() <= 0.1 * a.abs().max(0.1), "{name} is {a} in f32 and {b} in bf16");
    }
    ensure!(differ, "autocast changes nothing: no network computes in bf16");
    equal_bits(&full, &trained(Precision::F32)?)
}

fn lose(model: &dyn Generator, phase: &Phase, batch: &Batch, seed: i64) -> Result<Loss> {
    tch::manual_seed(seed);
    // In step 0 everything runs that runs in some steps only.
    Ok(model.loss(phase, batch, &context(0, 2, batch.len() as u64))?)
}
