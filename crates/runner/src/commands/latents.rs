//! `paragone reconstruct` and `paragone interpolate`: pictures through a model's latents.

use super::{
    ask::Opened,
    given::{Given, check_outputs},
    say, stopped,
};
use crate::{
    cli::{ConditionArgs, InterpolateArgs, ReconstructArgs},
    draw::to_bytes,
    strips::{decode, encode},
};
use anyhow::{Result, anyhow, ensure};
use paragone_core::{Batch, Latents, Noise};
use paragone_metrics::psnr;
use paragone_report::{GridOptions, Row, comparison_grid, film_strip, save_png};
use std::{path::Path, process::ExitCode};
use tch::{Kind, Tensor};

/// Test images that are brought back unless pictures are given.
const IMAGES: i64 = 8;

pub fn reconstruct(args: &ReconstructArgs) -> Result<ExitCode> {
    let inputs: Vec<&str> = args.image.iter().map(String::as_str).collect();
    check_outputs(&args.out, None, &inputs)?;
    let opened = Opened::open(&args.model)?;
    let latents = latents(&opened)?;
    let names: Vec<String> = match args.image.as_slice() {
        [] => {
            let test = opened.data(&args.datasets.datasets)?.test()?.len();
            (0..IMAGES.min(test)).map(|i| format!("test:{i}")).collect()
        }
        given => given.to_vec(),
    };
    let images = read(&names, &args.condition, &args.datasets.datasets, &opened)?;
    let noise = Noise::new((0..names.len() as u64).collect(), opened.device);
    let Some(z) = encode(latents, &images, &noise)? else { return Ok(stopped()) };
    let decoded = decode(latents, &z, &images.conditions, &noise)?;
    let given = to_bytes(&images.images);
    let decibels = psnr(&given, &decoded, None).mean(Kind::Double).double_value(&[]);
    let rows = [("given", given), ("brought back", decoded)];
    let rows = rows.map(|(label, images)| Row { label: label.to_owned(), images });
    save_png(&comparison_grid(&rows, &[], names.len(), &GridOptions::default()), &args.out)?;
    say(format_args!(
        "{}: {} images by {} numbers each, PSNR {decibels:.1} dB on average",
        args.out.display(),
        names.len(),
        latents.latent_dim(),
    ));
    Ok(ExitCode::SUCCESS)
}

pub fn interpolate(args: &InterpolateArgs) -> Result<ExitCode> {
    ensure!(args.frames > 1, "--frames is {}, but must be at least 2", args.frames);
    check_outputs(&args.out, None, &[&args.from, &args.to])?;
    let opened = Opened::open(&args.model)?;
    let latents = latents(&opened)?;
    let names = [args.from.clone(), args.to.clone()];
    let ends = read(&names, &args.condition, &args.datasets.datasets, &opened)?;
    let noise = Noise::new(vec![0; names.len()], opened.device);
    let Some(z) = encode(latents, &ends, &noise)? else { return Ok(stopped()) };
    let (mut frames, mut labels) = (Vec::new(), Vec::new());
    for frame in 0..args.frames {
        let time = frame as f64 / (args.frames - 1) as f64;
        let nearer = ends.conditions.narrow(i64::from(time > 0.5), 1);
        let z = slerp(&z.get(0), &z.get(1), time).unsqueeze(0);
        frames.push(decode(latents, &z, &nearer, &noise.narrow(0, 1))?);
        labels.push(format!("{:.0} %", time * 100.0));
    }
    save_png(&film_strip(&frames, &labels), &args.out)?;
    say(args.out.display());
    Ok(ExitCode::SUCCESS)
}

fn latents(opened: &Opened) -> Result<&dyn Latents> {
    opened.trained.model.latents().map_err(|lacks| anyhow!("{}: {lacks}", opened.name))
}

/// Pictures with what is asked for, else with what is known of each, on the model's device.
fn read(
    names: &[String],
    condition: &ConditionArgs,
    datasets: &Path,
    opened: &Opened,
) -> Result<Batch> {
    let given = names.iter().map(|name| Given::open(name, opened, datasets));
    let given: Vec<Given> = given.collect::<Result<_>>()?;
    let images: Vec<Tensor> =
        given.iter().map(|given| given.batch(1, given.conditions(1, opened)).images).collect();
    let known = given.iter().map(|given| given.conditions(1, opened));
    let prompts = condition.written_prompts()?;
    let (number, pictures) = (prompts.len().max(condition.class.len()), names.len());
    ensure!(
        number <= pictures,
        "{number} prompts or classes for {pictures} pictures: give at most one each"
    );
    let conditions = match opened.asked(condition, &prompts, pictures)? {
        Some(asked) => asked,
        None => known.reduce(|all, next| all.followed_by(&next)).expect("there is a picture"),
    };
    let batch: Batch = Batch { images: Tensor::cat(&images, 0), conditions };
    Ok(batch.to_device(opened.device))
}

/// A share `time` of the way from one vector to another on the great circle through them, their lengths interpolated by it
/// too (Shoemake 1985): in many dimensions a straight line would leave the sphere that a normal prior's mass lies near.
fn slerp(from: &Tensor, to: &Tensor, time: f64) -> Tensor {
    let cosine = (from.dot(to) / (from.norm() * to.norm()).clamp_min(1e-12)).double_value(&[]);
    let angle = cosine.clamp(-1.0, 1.0).acos();
    if angle.sin() < 1e-6 {
        return from * (1.0 - time) + to * time;
    }
    let weight = |share: f64| (share * angle).sin() / angle.sin();
    from * weight(1.0 - time) + to * weight(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_between_latents_stays_on_their_sphere() {
        let (from, to) =
            (Tensor::from_slice(&[2.0, 0.0, 0.0]), Tensor::from_slice(&[0.0, 2.0, 0.0]));
        let close = |a: &Tensor, b: &[f64]| a.allclose(&Tensor::from_slice(b), 1e-9, 1e-9, false);
        assert!(close(&slerp(&from, &to, 0.0), &[2.0, 0.0, 0.0]));
        assert!(close(&slerp(&from, &to, 1.0), &[0.0, 2.0, 0.0]));
        assert!(close(&slerp(&from, &to, 0.5), &[2f64.sqrt(), 2f64.sqrt(), 0.0]));
        assert!(close(&slerp(&from, &(&from * 2.0), 0.5), &[3.0, 0.0, 0.0]));
    }
}
