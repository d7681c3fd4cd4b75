use crate::{
    Coded,
    subject::{context, options, sample},
    watch::{is_finite, is_image, unwatched, watched},
};
use anyhow::{Context, Result, ensure};
use paragone::{families::Model, train::Trainer};
use paragone_core::Noise;
use tch::{Device, Tensor};

/// A short life: built, trained for two steps, asked for two images and for what it offers.
///
/// # Errors
/// Whatever in it is not as it must be.
pub fn live(model: &dyn Model, coded: &Coded) -> Result<()> {
    let mut trainer = Trainer::new(model, &coded.data, options()).context("building")?;
    for step in 0..2 {
        let scalars = trainer.step(&coded.nth_batch(step, 4), &context(step, 2, 4))?;
        for (name, value) in scalars {
            is_finite(&value).with_context(|| format!("{name} in step {step}"))?;
        }
    }
    ensure!(trainer.is_finite(), "a loss or gradient is not finite");
    let model = trainer.ema();
    let batch = coded.batch(&[0, 1]);
    let shape = &coded.data.shape;
    let drawn = watched(shape, 2, |on_step| sample(model, &batch.conditions, &[1, 2], on_step));
    let (images, _) = drawn.context("sampling")?;
    is_image(&images, &shape.batch(2)).context("a sample")?;

    let noise = Noise::new(vec![1, 2], Device::Cpu);
    if let Ok(likelihood) = model.likelihood() {
        for method in likelihood.methods() {
            let nats = unwatched(|on_step| {
                tch::no_grad(|| likelihood.nats(&method, &batch, &noise, on_step))
            });
            let nats = nats.with_context(|| format!("likelihood by {}", method.name))?;
            ensure!(nats.size() == [2], "likelihood by {} is {:?}", method.name, nats.size());
            is_finite(&nats).with_context(|| format!("likelihood by {}", method.name))?;
        }
    }
    if let Ok(latents) = model.latents() {
        let z = unwatched(|on_step| tch::no_grad(|| latents.encode(&batch, &noise, on_step)))?;
        let size = [2, latents.latent_dim()];
        ensure!(z.size() == size, "latents are {:?}, not {size:?}", z.size());
        is_finite(&z).context("latents")?;
    }
    Ok(())
}

/// All values of a model's variables as bytes, in the order of their names.
pub fn bits(named: &[(String, Tensor)]) -> Vec<(String, Vec<u8>)> {
    let bytes = |tensor: &Tensor| {
        let flat = tensor.detach().contiguous().view([-1]);
        let mut bytes = vec![0u8; flat.numel() * flat.kind().elt_size_in_bytes()];
        flat.copy_data_u8(&mut bytes, flat.numel());
        bytes
    };
    named.iter().map(|(name, tensor)| (name.clone(), bytes(tensor))).collect()
}

/// Checks that two lists of named tensors are equal bit for bit.
pub fn equal_bits(a: &[(String, Tensor)], b: &[(String, Tensor)]) -> Result<()> {
    let (a, b) = (bits(a), bits(b));
    ensure!(!a.is_empty() && a.len() == b.len(), "{} tensors against {}", a.len(), b.len());
    let differ: Vec<&str> = a.iter().zip(&b).filter(|(a, b)| a != b).map(|(a, _)| &*a.0).collect();
    ensure!(differ.is_empty(), "{} of {} differ: {}", differ.len(), a.len(), differ.join(", "));
    Ok(())
}
