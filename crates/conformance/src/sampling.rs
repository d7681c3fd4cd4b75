//! Drawing images: one a seed, the same whatever is around it.

use crate::{
    Check, Subject,
    check::checks,
    subject::{Learner, sample},
    trial::equal_bits,
    watch::{distance, is_image, unwatched},
};
use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    samples_are_images,
    the_same_seed_draws_the_same_image,
    an_image_is_the_same_in_any_batch,
    another_seed_draws_another_image,
    chance_comes_from_the_seeds_alone,
    sampling_changes_no_variable,
];

/// Seeds of the images that are drawn here.
const SEEDS: [u64; 6] = [11, 5, 7, 42, 3, 1 << 40];

fn samples_are_images(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let size = coded.data.shape.batch(SEEDS.len() as i64);
    is_image(&draw(subject, &SEEDS)?, &size).context("trained")?;
    let (_vars, untrained) = subject.perturbed(&coded.data)?;
    let conditions = coded.conditions(&coded.classes(&SEEDS));
    let images = unwatched(|on_step| sample(&*untrained, &conditions, &SEEDS, on_step))?;
    is_image(&images, &size).context("untrained")?;
    ensure!(images.device() == Device::Cpu && trainer.num_parameters() > 0, "not where asked");
    Ok(())
}

fn the_same_seed_draws_the_same_image(subject: &Subject) -> Result<()> {
    let (first, second) = (draw(subject, &SEEDS)?, draw(subject, &SEEDS)?);
    ensure!(first.equal(&second), "two draws differ by {}", distance(&first, &second));
    Ok(())
}

/// To 1e-4: sums are made in another order.
fn an_image_is_the_same_in_any_batch(subject: &Subject) -> Result<()> {
    let all = draw(subject, &SEEDS)?;
    for (row, seed) in SEEDS.iter().enumerate() {
        let alone = draw(subject, &[*seed])?;
        let apart = distance(&alone, &all.narrow(0, row as i64, 1));
        ensure!(apart <= 1e-4, "seed {seed} differs by {apart} alone and in a batch");
    }
    let backwards: Vec<u64> = SEEDS.iter().rev().copied().collect();
    let apart = distance(&draw(subject, &backwards)?.flip([0]), &all);
    ensure!(apart <= 1e-4, "in another order the batch differs by {apart}");
    Ok(())
}

fn another_seed_draws_another_image(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let seeds: Vec<u64> = (0..8).collect();
    let conditions = coded.conditions(&[1; 8]);
    let images = unwatched(|on_step| sample(trainer.ema(), &conditions, &seeds, on_step))?;
    for i in 0..8 {
        for j in 0..i {
            let apart = distance(&images.get(i), &images.get(j));
            ensure!(apart > 1e-3, "seeds {i} and {j} draw the same image");
        }
    }
    Ok(())
}

/// libtorch's generator neither decides a sample nor is moved on by it: training reseeds it every step.
fn chance_comes_from_the_seeds_alone(subject: &Subject) -> Result<()> {
    let number = || Tensor::rand([4], (Kind::Float, Device::Cpu));
    tch::manual_seed(1);
    let (_, untouched) = (number(), number());
    tch::manual_seed(1);
    let _ = number();
    let first = draw(subject, &SEEDS)?;
    ensure!(number().equal(&untouched), "sampling drew from libtorch's generator");
    let second = draw(subject, &SEEDS)?;
    ensure!(first.equal(&second), "libtorch's generator changed a sample");
    Ok(())
}

fn sampling_changes_no_variable(subject: &Subject) -> Result<()> {
    let Learner { coded, trainer } = subject.learner()?;
    let copy = |named: Vec<(String, Tensor)>| -> Vec<(String, Tensor)> {
        named.into_iter().map(|(name, value)| (name, value.copy())).collect()
    };
    let before = copy(trainer.ema_state());
    let _ = draw(subject, &SEEDS)?;
    equal_bits(&before, &trainer.ema_state()).context(format!("{:?}", coded.data.shape))
}

/// Images of the trained model; a seed's class is a function of the seed.
fn draw(subject: &Subject, seeds: &[u64]) -> Result<Tensor> {
    let Learner { coded, trainer } = subject.learner()?;
    let conditions = coded.conditions(&coded.classes(seeds));
    unwatched(|on_step| sample(trainer.ema(), &conditions, seeds, on_step))
}
