//! The forward process of a family that has one.

use crate::{
    Check, Coded, Subject,
    check::checks,
    subject::build,
    watch::{distance, is_image, mean_square},
};
use anyhow::{Context, Result, ensure};
use paragone_core::{Noise, Noising};
use tch::{Device, Kind, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![it_begins_clean_and_ends_in_noise];

fn it_begins_clean_and_ends_in_noise(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let (_vars, model) = build(&*subject.tiny(), &coded.data)?;
    let Ok(noising) = model.noising() else { return Ok(()) };
    let seeds: Vec<u64> = (0..64).collect();
    let images = coded.images(&seeds);
    let noise = Noise::new(seeds.clone(), Device::Cpu);
    let at = |time: f64, noise: &Noise| -> Result<Tensor> {
        let noised = noised(noising, &images, time, noise)?;
        is_image(&noised, &images.size()).with_context(|| format!("at {time}"))?;
        Ok(noised)
    };
    let clean = distance(&at(0.0, &noise)?, &images);
    ensure!(clean < 1e-5, "at time 0 an image differs by {clean}");
    ensure!(at(0.6, &noise)?.equal(&at(0.6, &noise)?), "the same noise gives another image");

    let mut last = -1.0;
    for time in [0.0, 0.1, 0.3, 0.6, 1.0] {
        let error = mean_square(&at(time, &noise)?, &images).mean(Kind::Double).double_value(&[]);
        ensure!(error > last, "at time {time} the error is {error}, not above {last}");
        last = error;
    }
    // At the end nothing is left of the image, and all is of the noise.
    let end = at(1.0, &noise)?;
    let kept = correlation(&end, &images);
    ensure!(kept.abs() < 0.2, "at time 1 an image correlates with its original by {kept}");
    let other = at(1.0, &noise.fork(1))?;
    let shared = correlation(&(&end - end.mean(Kind::Float)), &(&other - other.mean(Kind::Float)));
    ensure!(shared.abs() < 0.2, "at time 1 images under different noise correlate by {shared}");
    Ok(())
}

fn noised(noising: &dyn Noising, images: &Tensor, time: f64, noise: &Noise) -> Result<Tensor> {
    Ok(tch::no_grad(|| noising.noised(images, time, noise))?)
}

fn correlation(a: &Tensor, b: &Tensor) -> f64 {
    let centred = |t: &Tensor| t.to_kind(Kind::Double) - t.mean(Kind::Double);
    let (a, b) = (centred(a), centred(b));
    let norms = a.square().sum(Kind::Double).sqrt() * b.square().sum(Kind::Double).sqrt();
    ((a * b).sum(Kind::Double) / norms).double_value(&[])
}
