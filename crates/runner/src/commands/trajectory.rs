//! `paragone trajectory`: how a model makes its images, as film strips.
//!
//! What is drawn follows from what the model offers: the forward process if it has one, the sampler's way if it takes
//! several calls (noise to picture, or pixel after pixel), test images brought back from their latents and a walk between
//! latents if it has those.

use super::{ask::Opened, say, stopped};
use crate::{
    cli::TrajectoryArgs,
    files::create_dir,
    interrupt,
    log::note,
    prompts::{Prompts, cycle_classes},
    strips::{Scene, Strip},
};
use anyhow::{Result, ensure};
use paragone_core::{Batch, Conditions};
use std::process::ExitCode;
use tch::Device;

pub fn execute(args: &TrajectoryArgs) -> Result<ExitCode> {
    ensure!(args.n > 0, "--n is 0, but must be at least 1");
    ensure!(args.frames > 1, "--frames is {}, but must be at least 2", args.frames);
    let opened = Opened::open(&args.model)?;
    let Opened { trained, run, name, device, .. } = &opened;
    let (model, spec) = (&*trained.model, &trained.spec);
    let conditions = match &spec.text {
        Some(_) => {
            let data = opened.data(&args.datasets.datasets)?;
            Prompts::in_turn(data, args.n, args.n)?.conditions
        }
        None => Conditions::of_classes(&cycle_classes(spec, args.n, args.n), spec, Device::Cpu),
    };
    let scene = Scene::new(&conditions, args.frames, args.seed, *device);
    let mut strips: Vec<(&str, Strip)> = Vec::new();

    let test_images = || -> Result<Batch> {
        let data = opened.data(&args.datasets.datasets)?;
        let test = data.test()?;
        let n = scene.num_images().min(test.len());
        Ok(test.batch(0, n, &data.spec).to_device(*device))
    };

    match model.noising() {
        Ok(noising) => strips.push(("noising", scene.noising(noising, &test_images()?)?)),
        Err(lacks) => note(&format!("no noising strip: {name} {lacks}")),
    }
    match scene.sampling(model)? {
        Some(strip) => strips.push(("sampling", strip)),
        None if interrupt::asked() => {}
        None => note(&format!("no sampling strip: {name} makes its images in one network call")),
    }
    match model.latents() {
        Ok(_) if interrupt::asked() => {}
        Ok(latents) => {
            strips.push(("latent-walk", scene.walk(latents)?));
            match test_images() {
                Ok(test) => {
                    let reconstruction = scene.reconstruction(latents, &test)?;
                    strips.extend(reconstruction.map(|strip| ("reconstruction", strip)));
                }
                Err(error) => note(&format!("no reconstruction: {error:#}")),
            }
        }
        Err(lacks) => note(&format!("no reconstruction and no latent walk: {name} {lacks}")),
    }
    if interrupt::asked() {
        return Ok(stopped());
    }

    let out = args.out.clone().unwrap_or_else(|| run.model(name).path().join("trajectory"));
    create_dir(&out)?;
    for (title, strip) in strips {
        let path = out.join(format!("{title}.png"));
        paragone_report::save_png(&strip.picture(), &path)?;
        say(path.display());
    }
    Ok(ExitCode::SUCCESS)
}
