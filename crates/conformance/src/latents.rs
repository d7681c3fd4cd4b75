//! The latent space of a family that has one.

use crate::{
    Check, Subject,
    check::checks,
    subject::{Learner, sample},
    watch::{distance, is_finite, is_image, mean_square, right, stops, unwatched, watched},
};
use anyhow::{Context, Result, ensure};
use paragone_core::{Batch, Latents, Noise, OnStep, SampleRequest};
use tch::{Device, Kind, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    encoding_gives_latents,
    an_image_has_the_same_latents_in_any_batch,
    decoding_gives_images,
    decoding_brings_an_image_back,
    decoded_noise_looks_like_samples,
];

const SEEDS: [u64; 6] = [1, 2, 3, 4, 6, 7];

fn encoding_gives_latents(subject: &Subject) -> Result<()> {
    let Some((Learner { coded, .. }, latents)) = offered(subject)? else { return Ok(()) };
    ensure!(latents.latent_dim() > 0, "latent_dim is {}", latents.latent_dim());
    let batch = coded.batch(&SEEDS);
    let noise = Noise::new(SEEDS.to_vec(), Device::Cpu);
    let encode =
        |on_step: &mut dyn OnStep| tch::no_grad(|| latents.encode(&batch, &noise, on_step));
    let (z, calls) = watched(&coded.data.shape, batch.len(), encode)?;
    let size = [batch.len(), latents.latent_dim()];
    ensure!(z.size() == size && z.kind() == Kind::Float, "{z:?} is not f32 {size:?}");
    is_finite(&z)?;
    ensure!(z.equal(&unwatched(encode)?), "the same noise gives other latents");
    stops(calls, encode)
}

fn an_image_has_the_same_latents_in_any_batch(subject: &Subject) -> Result<()> {
    let Some((Learner { coded, .. }, latents)) = offered(subject)? else { return Ok(()) };
    let all = encode(latents, subject, &SEEDS)?;
    let one = encode(latents, subject, &SEEDS[2..3])?;
    let apart = distance(&one, &all.narrow(0, 2, 1));
    ensure!(apart <= 1e-2, "image 2's latents differ by {apart} alone and in a batch");
    ensure!(distance(&all.get(0), &all.get(1)) > 1e-3, "two images have the same latents");
    ensure!(coded.data.shape.numel() > 0, "no pixels");
    Ok(())
}

fn decoding_gives_images(subject: &Subject) -> Result<()> {
    let Some((Learner { coded, .. }, latents)) = offered(subject)? else { return Ok(()) };
    let z = Noise::new(SEEDS.to_vec(), Device::Cpu).normal(9, &[latents.latent_dim()]);
    let images = decode(latents, subject, &z)?;
    is_image(&images, &coded.data.shape.batch(SEEDS.len() as i64))?;
    ensure!(images.equal(&decode(latents, subject, &z)?), "the same latents give other images");
    Ok(())
}

/// Under conditions that ask for nothing, so that the latents have to say what an image shows: nearer than what other
/// latents stand for, and of the same class.
fn decoding_brings_an_image_back(subject: &Subject) -> Result<()> {
    let Some((Learner { coded, .. }, latents)) = offered(subject)? else { return Ok(()) };
    let numbers: Vec<u64> = (0..16).collect();
    let nothing = || coded.conditions(&[coded.nothing(); 16]);
    let batch = Batch { images: coded.images(&numbers), conditions: nothing() };
    let noise = Noise::new(numbers.clone(), Device::Cpu);
    let z = unwatched(|on_step| tch::no_grad(|| latents.encode(&batch, &noise, on_step)))?;
    let conditions = nothing();
    let request = SampleRequest::new(&conditions, &noise);
    let decode = |z: &Tensor| tch::no_grad(|| latents.decode(z, &request));
    let (back, random) = (decode(&z)?, decode(&noise.normal(9, &[latents.latent_dim()]))?);
    let error =
        |made: &Tensor| mean_square(made, &batch.images).mean(Kind::Double).double_value(&[]);
    let (near, far) = (error(&back), error(&random));
    ensure!(near < far, "mean squared error {near} of its own latents, {far} of others");
    let right = right(&coded.shown(&back), &coded.classes(&numbers));
    ensure!(2 * right >= 16, "{right} of 16 images come back as of their class");
    Ok(())
}

/// Latents are standard normal under the prior: decoded, they make images as bright and as varied as samples are.
fn decoded_noise_looks_like_samples(subject: &Subject) -> Result<()> {
    let Some((Learner { coded, trainer }, latents)) = offered(subject)? else { return Ok(()) };
    let seeds: Vec<u64> = (0..64).collect();
    let conditions = coded.conditions(&coded.classes(&seeds));
    let noise = Noise::new(seeds.clone(), Device::Cpu);
    let z = noise.fork(5).normal(0, &[latents.latent_dim()]);
    let request = SampleRequest::new(&conditions, &noise);
    let decoded = tch::no_grad(|| latents.decode(&z, &request))?;
    let sampled = unwatched(|on_step| sample(trainer.ema(), &conditions, &seeds, on_step))?;
    let moments = |t: &Tensor| {
        let per_image = t.flatten(1, -1).mean_dim(1, false, Kind::Double);
        let mean = t.mean(Kind::Double).double_value(&[]);
        (mean, t.std(false).double_value(&[]), per_image.std(false).double_value(&[]))
    };
    let (a, b) = (moments(&decoded), moments(&sampled));
    let near = |a: f64, b: f64| (a - b).abs() <= 0.1;
    ensure!(
        near(a.0, b.0) && near(a.1, b.1) && near(a.2, b.2),
        "mean, deviation and that of image means are {a:?} decoded and {b:?} sampled"
    );
    Ok(())
}

fn offered(subject: &Subject) -> Result<Option<(&Learner, &dyn Latents)>> {
    let learner = subject.learner()?;
    Ok(learner.trainer.ema().latents().ok().map(|latents| (learner, latents)))
}

fn encode(latents: &dyn Latents, subject: &Subject, seeds: &[u64]) -> Result<Tensor> {
    let batch = subject.learner()?.coded.batch(seeds);
    let noise = Noise::new(seeds.to_vec(), Device::Cpu);
    unwatched(|on_step| tch::no_grad(|| latents.encode(&batch, &noise, on_step)))
        .context("encoding")
}

/// Under the conditions that the images of [`encode`] were encoded under.
fn decode(latents: &dyn Latents, subject: &Subject, z: &Tensor) -> Result<Tensor> {
    let conditions = subject.learner()?.coded.batch(&SEEDS).conditions;
    let noise = Noise::new(SEEDS.to_vec(), Device::Cpu);
    let request = SampleRequest::new(&conditions, &noise);
    tch::no_grad(|| latents.decode(z, &request)).context("decoding")
}
