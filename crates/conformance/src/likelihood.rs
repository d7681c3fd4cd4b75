//! The likelihood of a family that defines one.

use crate::{
    Check, Coded, Subject,
    check::checks,
    subject::{Learner, context, options},
    watch::{distance, is_finite, stops, unwatched, watched},
};
use anyhow::{Context, Result, ensure};
use paragone::train::Trainer;
use paragone_core::{
    Batch, Conditions, Generator, Likelihood, LikelihoodKind, LikelihoodMethod, Noise, OnStep,
    from_levels, mix,
};
use std::collections::BTreeSet;
use tch::{Device, Kind, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    every_method_works,
    an_image_costs_the_same_in_any_batch,
    real_images_are_likelier_than_noise,
    the_right_class_is_likelier_than_a_wrong_one,
    an_exact_likelihood_sums_to_one,
    probabilities_sum_to_one_at_most,
    no_figure_beats_the_entropy_of_the_data,
];

fn every_method_works(subject: &Subject) -> Result<()> {
    let Some((Learner { coded, .. }, likelihood)) = offered(subject)? else { return Ok(()) };
    let methods = likelihood.methods();
    ensure!(!methods.is_empty(), "it is offered, and no method is");
    let names: BTreeSet<&str> = methods.iter().map(|method| &*method.name).collect();
    ensure!(names.len() == methods.len() && !names.contains(""), "names {names:?}");
    let batch = coded.batch(&SEEDS);
    let noise = Noise::new(SEEDS.to_vec(), Device::Cpu);
    for method in &methods {
        ensure!(method.passes > 0, "{} takes no network pass", method.name);
        let measure = |on_step: &mut dyn OnStep| {
            tch::no_grad(|| likelihood.nats(method, &batch, &noise, on_step))
        };
        let run = || -> Result<()> {
            let (nats, calls) = watched(&coded.data.shape, batch.len(), measure)?;
            let size = [batch.len()];
            ensure!(
                nats.size() == size && nats.kind() == Kind::Double,
                "{nats:?} is not f64 {size:?}"
            );
            ensure!(nats.device() == Device::Cpu, "it is not on the host");
            is_finite(&nats)?;
            ensure!(nats.equal(&unwatched(measure)?), "the same noise gives another figure");
            stops(calls, measure)
        };
        run().with_context(|| method.name.clone())?;
    }
    Ok(())
}

fn an_image_costs_the_same_in_any_batch(subject: &Subject) -> Result<()> {
    let Some((Learner { coded, .. }, likelihood)) = offered(subject)? else { return Ok(()) };
    for method in likelihood.methods() {
        let all = nats(likelihood, &method, &coded.batch(&SEEDS), &SEEDS)?;
        let one = nats(likelihood, &method, &coded.batch(&SEEDS[3..4]), &SEEDS[3..4])?;
        let apart =
            distance(&all.narrow(0, 3, 1), &one) / one.abs().max().double_value(&[]).max(1.0);
        ensure!(apart < 1e-3, "{}: image 3 differs by a share of {apart} alone", method.name);
    }
    Ok(())
}

fn real_images_are_likelier_than_noise(subject: &Subject) -> Result<()> {
    let Some((Learner { coded, .. }, likelihood)) = offered(subject)? else { return Ok(()) };
    for method in likelihood.methods() {
        let real = coded.batch(&SEEDS);
        let uniform = Noise::new(SEEDS.to_vec(), Device::Cpu).uniform(3, &coded.data.shape.dims());
        let noise =
            Batch { images: from_levels(&(uniform * 256.0).floor()), ..coded.batch(&SEEDS) };
        let (real, noise) =
            (mean_nats(likelihood, &method, &real)?, mean_nats(likelihood, &method, &noise)?);
        ensure!(real < noise, "{}: {real} nats for images, {noise} for noise", method.name);
        // Untrained, a uniform distribution would cost 8 bits a dimension.
        let uniform = coded.data.shape.numel() as f64 * 256f64.ln();
        ensure!(real < 0.9 * uniform, "{}: {real} nats, {uniform} without a model", method.name);
    }
    Ok(())
}

fn the_right_class_is_likelier_than_a_wrong_one(subject: &Subject) -> Result<()> {
    let Some((Learner { coded, .. }, likelihood)) = offered(subject)? else { return Ok(()) };
    let numbers: Vec<u64> = (0..24).collect();
    let told = |off_by: u64| {
        let classes: Vec<i64> = numbers.iter().map(|&n| coded.class(n + off_by)).collect();
        Batch { images: coded.images(&numbers), conditions: coded.conditions(&classes) }
    };
    for method in likelihood.methods() {
        let right = mean_nats(likelihood, &method, &told(0))?;
        let wrong = mean_nats(likelihood, &method, &told(1))?;
        ensure!(right < wrong, "{}: {right} nats for the class, {wrong} for another", method.name);
    }
    Ok(())
}

/// Over all 256² gray images of two pixels, or 256 of one, after some training.
fn an_exact_likelihood_sums_to_one(subject: &Subject) -> Result<()> {
    let Some(shape) = smallest(subject, &[[1, 1, 2], [1, 2, 1], [1, 1, 1]]) else { return Ok(()) };
    let coded = Coded::new(shape);
    let trainer = trained(subject, &coded, 60, |step| coded.nth_batch(step, 32))?;
    let model = trainer.ema();
    let Some((likelihood, method)) = exact(model) else { return Ok(()) };
    let levels = all_images(shape);
    for class in [0, coded.data.null_class()] {
        let mut total = 0.0;
        for piece in levels.split(8192, 0) {
            let n = piece.size()[0];
            let conditions =
                Conditions::of_classes(&vec![class; n as usize], &coded.data, Device::Cpu);
            let batch = Batch { images: from_levels(&piece), conditions };
            let nats = nats(likelihood, &method, &batch, &vec![0; n as usize])?;
            total += (-nats).exp().sum(Kind::Double).double_value(&[]);
        }
        ensure!(
            (total - 1.0).abs() < 1e-3,
            "{}: all images of class {class} sum to {total}",
            method.name
        );
    }
    Ok(())
}

/// Over all 256 images of one pixel, or 256² of two, for whatever does not claim to be an estimate: what a bound gives is
/// below the truth in the mean, so the sum is too.
fn probabilities_sum_to_one_at_most(subject: &Subject) -> Result<()> {
    const DRAWS: u64 = 16;
    let Some(shape) = smallest(subject, &[[1, 1, 1], [1, 1, 2], [1, 2, 1]]) else { return Ok(()) };
    let coded = Coded::new(shape);
    let trainer = trained(subject, &coded, 200, |step| coded.nth_batch(step, 32))?;
    let Ok(likelihood) = trainer.ema().likelihood() else { return Ok(()) };
    let images = from_levels(&all_images(shape));
    let n = images.size()[0];
    for class in [0, coded.data.null_class()] {
        let conditions = Conditions::of_classes(&vec![class; n as usize], &coded.data, Device::Cpu);
        let batch = Batch { images: images.shallow_clone(), conditions };
        for method in likelihood.methods() {
            if method.kind == LikelihoodKind::Estimate {
                continue;
            }
            let draws = (0..DRAWS).map(|draw| {
                let seeds: Vec<u64> = (0..n as u64).map(|i| mix(&[i, draw])).collect();
                nats(likelihood, &method, &batch, &seeds)
            });
            let draws = Tensor::stack(&draws.collect::<Result<Vec<_>>>()?, 0); // [draws, n]
            let p = (-draws.mean_dim(0, false, Kind::Double)).exp();
            let total = p.sum(Kind::Double).double_value(&[]);
            // The mean of few draws is uncertain, and being exponentiated too high by half its variance.
            let variance = draws.var_dim(0, true, false) / DRAWS as f64;
            let bias = (&p * &variance).sum(Kind::Double).double_value(&[]) / 2.0;
            let error = (p.square() * variance).sum(Kind::Double).double_value(&[]).sqrt();
            ensure!(
                total < 1.001 + bias + 4.0 * error,
                "{}: all images of class {class} sum to {total}",
                method.name
            );
        }
    }
    Ok(())
}

/// Over any set of N images probabilities sum to one at most, so the mean cost of one is at least ln N, by whatever
/// method that does not claim less than the truth. Trained on N images of very few pixels a model comes so near to it
/// that a bound which forgets a term falls below.
fn no_figure_beats_the_entropy_of_the_data(subject: &Subject) -> Result<()> {
    const IMAGES: u64 = 256;
    let shapes = [[1, 1, 1], [1, 1, 2], [1, 2, 2], [1, 4, 4], [1, 8, 8]];
    let Some(shape) = smallest(subject, &shapes) else { return Ok(()) };
    let coded = Coded::new(shape).without_classes();
    // Distinct levels in the first pixel, the others functions of it: ln N nats in all.
    let image = |numbers: &[u64]| -> Tensor {
        let pixel = |number: u64, i: u64| ((number * (2 * i + 1)) % IMAGES) as i64;
        let numel = coded.data.shape.numel() as u64;
        let levels = numbers.iter().flat_map(|&number| (0..numel).map(move |i| pixel(number, i)));
        let levels = Tensor::from_slice(&levels.collect::<Vec<i64>>());
        from_levels(&levels.view([-1, shape[0], shape[1], shape[2]]))
    };
    let batch = |numbers: &[u64]| {
        let conditions = Conditions::none(numbers.len() as i64, &coded.data, Device::Cpu);
        Batch { images: image(numbers), conditions }
    };
    let shuffled = |step: u64| {
        let drawn: Vec<u64> = (0..64).map(|i| mix(&[step, i]) % IMAGES).collect();
        batch(&drawn)
    };
    let trainer = trained(subject, &coded, 400, shuffled)?;
    let Ok(likelihood) = trainer.ema().likelihood() else { return Ok(()) };
    let numbers: Vec<u64> = (0..IMAGES).collect();
    let entropy = (IMAGES as f64).ln();
    for method in likelihood.methods() {
        if method.kind == LikelihoodKind::Estimate {
            continue;
        }
        // Many draws an image, so that the luck of one does not count.
        let draws = (0..16).map(|draw| {
            let seeds: Vec<u64> = numbers.iter().map(|&n| mix(&[n, draw])).collect();
            nats(likelihood, &method, &batch(&numbers), &seeds)
        });
        let draws = Tensor::stack(&draws.collect::<Result<Vec<_>>>()?, 0);
        let per_draw = draws.mean_dim(1, false, Kind::Double);
        let error = per_draw.std(true).double_value(&[]) / 4.0;
        let mean = draws.mean(Kind::Double).double_value(&[]);
        ensure!(
            mean > entropy - 0.05 - 4.0 * error,
            "{}: {IMAGES} images cost {mean} nats in the mean, which is less than ln {IMAGES} = {entropy}",
            method.name
        );
    }
    Ok(())
}

const SEEDS: [u64; 6] = [1, 2, 3, 4, 6, 7];

fn offered(subject: &Subject) -> Result<Option<(&Learner, &dyn Likelihood)>> {
    let learner = subject.learner()?;
    Ok(learner.trainer.ema().likelihood().ok().map(|likelihood| (learner, likelihood)))
}

fn exact(model: &dyn Generator) -> Option<(&dyn Likelihood, LikelihoodMethod)> {
    let likelihood = model.likelihood().ok()?;
    let method = likelihood.methods().into_iter().find(|m| m.kind == LikelihoodKind::Exact)?;
    Some((likelihood, method))
}

/// Every image of a shape, i64 levels `[256^(chw), c, h, w]`.
fn all_images(shape: [i64; 3]) -> Tensor {
    let numel = shape.iter().product::<i64>() as u32;
    let all = Tensor::arange(256i64.pow(numel), (Kind::Int64, Device::Cpu));
    let digit = |i: u32| all.divide_scalar_mode(256i64.pow(i), "floor").remainder(256);
    let digits: Vec<Tensor> = (0..numel).map(digit).collect();
    Tensor::stack(&digits, 1).view([-1, shape[0], shape[1], shape[2]])
}

/// The first of some shapes that the tiny configuration accepts.
fn smallest(subject: &Subject, shapes: &[[i64; 3]]) -> Option<[i64; 3]> {
    let fits = |shape: &[i64; 3]| subject.tiny().validate(&Coded::new(*shape).data).is_ok();
    shapes.iter().copied().find(fits)
}

fn trained(
    subject: &Subject,
    coded: &Coded,
    steps: u64,
    batch: impl Fn(u64) -> Batch,
) -> Result<Trainer> {
    let mut trainer = subject.trainer(&coded.data, options())?;
    for step in 0..steps {
        let batch = batch(step);
        trainer.step(&batch, &context(step, steps, batch.len() as u64))?;
    }
    Ok(trainer)
}

/// f64 `[n]`.
fn nats(
    likelihood: &dyn Likelihood,
    method: &LikelihoodMethod,
    batch: &Batch,
    seeds: &[u64],
) -> Result<Tensor> {
    let noise = Noise::new(seeds.to_vec(), Device::Cpu);
    unwatched(|on_step| tch::no_grad(|| likelihood.nats(method, batch, &noise, on_step)))
}

fn mean_nats(likelihood: &dyn Likelihood, method: &LikelihoodMethod, batch: &Batch) -> Result<f64> {
    let seeds: Vec<u64> = (0..batch.len() as u64).collect();
    Ok(nats(likelihood, method, batch, &seeds)?.mean(Kind::Double).double_value(&[]))
}
