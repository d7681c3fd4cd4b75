//! The updates of one training step, and whose parameters they change.

use crate::{
    Check, Coded, Subject,
    check::checks,
    subject::{build, context, options},
    trial::bits,
};
use anyhow::{Context, Result, ensure};
use paragone::train::named_variables;
use paragone_core::{Generator, Phase};
use std::collections::BTreeSet;
use tch::{Tensor, nn::VarStore};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    phases_share_the_parameters_out,
    gradients_reach_the_phase_s_parameters_and_no_others,
    a_loss_leaves_no_gradients_behind,
    every_parameter_is_trained,
    an_average_keeps_its_distance,
];

/// Every parameter belongs to one phase.
fn phases_share_the_parameters_out(subject: &Subject) -> Result<()> {
    let (vars, model) = build(&*subject.tiny(), &Coded::new(Coded::GRAY).data)?;
    let phases = model.phases();
    let names: BTreeSet<&str> = phases.iter().map(|phase| phase.name).collect();
    ensure!(names.len() == phases.len(), "two phases of one name: {names:?}");
    ensure!(!names.contains(""), "a phase without a name");
    for (name, _) in trained(&vars) {
        let owners: Vec<&str> =
            phases.iter().filter(|phase| owns(phase, &name)).map(|phase| phase.name).collect();
        ensure!(owners.len() == 1, "{name} belongs to {owners:?}");
    }
    for phase in &phases {
        ensure!(phase.every > 0, "phase {} runs in every 0th step", phase.name);
        for root in phase.parameters {
            let used = trained(&vars).iter().any(|(name, _)| name.split('.').next() == Some(root));
            ensure!(used, "phase {} owns {root}, which has no parameters", phase.name);
        }
    }
    let first = &phases[0];
    ensure!(first.every == 1, "the first phase, {}, does not run in every step", first.name);
    Ok(())
}

/// With gradients on for one phase's parameters, as in training, they all get one that is not zero, and the others none.
fn gradients_reach_the_phase_s_parameters_and_no_others(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY).with_text();
    let (vars, model) = subject.perturbed(&coded.data)?;
    for phase in model.phases() {
        backward(&vars, &*model, &phase, &coded)?;
        let mut unreached = Vec::new();
        for (name, value) in named_variables(&vars) {
            let gradient = value.grad();
            let reached = gradient.defined() && gradient.abs().max().double_value(&[]) > 0.0;
            if owns(&phase, &name) && is_parameter(&vars, &name) {
                unreached.extend((!reached).then_some(name));
            } else {
                ensure!(!reached, "the phase {} has a gradient for {name}", phase.name);
            }
        }
        ensure!(unreached.is_empty(), "the phase {} does not reach {unreached:?}", phase.name);
    }
    Ok(())
}

/// `loss` itself calls no backward on parameters.
fn a_loss_leaves_no_gradients_behind(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let (vars, model) = subject.perturbed(&coded.data)?;
    for phase in model.phases() {
        tch::manual_seed(1);
        let _loss = model.loss(&phase, &coded.nth_batch(0, 6), &context(0, 2, 6))?;
        let touched = named_variables(&vars).into_iter().find(|(_, value)| value.grad().defined());
        ensure!(touched.is_none(), "the loss of {} left a gradient: {touched:?}", phase.name);
    }
    Ok(())
}

/// After some steps no parameter is as it was.
fn every_parameter_is_trained(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY).with_text();
    let mut trainer = subject.trainer(&coded.data, options())?;
    let before = bits(&trainer.model_state());
    let (vars, _model) = build(&*subject.tiny(), &coded.data)?;
    let steps = 2 + 2 * trainer.phases().map(|phase| phase.every).max().unwrap_or(1);
    for step in 0..steps {
        trainer.step(&coded.nth_batch(step, 8), &context(step, steps, 8))?;
    }
    let after = bits(&trainer.model_state());
    let same = before.iter().zip(&after).filter(|(a, b)| a == b).map(|(a, _)| a.0.clone());
    let same: Vec<String> = same.filter(|name| is_parameter(&vars, name)).collect();
    ensure!(same.is_empty(), "as before after {steps} steps: {same:?}");
    Ok(())
}

/// The averaged model trails the trained one: it is a model of its own, and moves.
fn an_average_keeps_its_distance(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let options =
        paragone::train::TrainerOptions { ema_half_life: 64.0, ema_rampup: 1e9, ..options() };
    let mut trainer = subject.trainer(&coded.data, options)?;
    let start = bits(&trainer.ema_state());
    ensure!(
        start == bits(&trainer.model_state()),
        "the average does not start where the model does"
    );
    for step in 0..4 {
        trainer.step(&coded.nth_batch(step, 8), &context(step, 4, 8))?;
    }
    let (ema, model) = (bits(&trainer.ema_state()), bits(&trainer.model_state()));
    ensure!(ema != start, "the average never moves");
    ensure!(ema != model, "the average is the model itself");
    Ok(())
}

fn backward(vars: &VarStore, model: &dyn Generator, phase: &Phase, coded: &Coded) -> Result<()> {
    // In step 0 everything runs that runs in some steps only.
    let (batch, context) = (coded.nth_batch(0, 12), context(0, 2, 12));
    for (name, mut value) in trained(vars) {
        let _ = value.set_requires_grad(owns(phase, &name));
        value.zero_grad();
    }
    tch::manual_seed(1);
    let loss = model.loss(phase, &batch, &context);
    let backward = loss.and_then(|loss| Ok(loss.total.f_backward()?));
    for (_, value) in trained(vars) {
        let _ = value.set_requires_grad(true);
    }
    backward.with_context(|| format!("the phase {}", phase.name))
}

fn owns(phase: &Phase, name: &str) -> bool {
    phase.parameters.contains(&name.split('.').next().unwrap_or_default())
}

fn is_parameter(vars: &VarStore, name: &str) -> bool {
    trained(vars).iter().any(|(parameter, _)| parameter == name)
}

/// The parameters, without the buffers. A store knows which it was asked to train.
fn trained(vars: &VarStore) -> Vec<(String, Tensor)> {
    let trained = vars.trainable_variables();
    let is = |value: &Tensor| trained.iter().any(|t| t.data_ptr() == value.data_ptr());
    named_variables(vars).into_iter().filter(|(_, value)| is(value)).collect()
}
