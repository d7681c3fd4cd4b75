//! `paragone trajectory`: how a model makes its images, as film strips.
//!
//! What is drawn follows from what the model offers: the forward process if it has one, the sampler's way if it takes
//! several calls (noise to picture, or pixel after pixel), test images brought back from their latents and a walk between
//! latents if it has those.

use super::{
    prepare,
    sample::{Opened, open},
    say,
};
use crate::{
    cli::TrajectoryArgs,
    data::RunData,
    draw::{cycle_classes, to_bytes},
    files::create_dir,
    interrupt::{self, EXIT_INTERRUPTED},
    log::{Reporter, note},
};
use anyhow::{Result, ensure};
use paragone_core::{
    Batch, Conditions, DataSpec, Error, Generator, Latents, Noise, Noising, Progress, SampleRequest,
};
use std::{ops::ControlFlow, process::ExitCode};
use tch::{Device, Tensor};

pub fn execute(args: &TrajectoryArgs) -> Result<ExitCode> {
    ensure!(args.n > 0, "--n is 0, but must be at least 1");
    ensure!(args.frames > 1, "--frames is {}, but must be at least 2", args.frames);
    let opened = open(&args.model, &args.set, || prepare(&args.device, None))?;
    let Opened { trained, experiment, run, name, device, .. } = &opened;
    let (model, spec) = (&*trained.model, &trained.spec);
    let scene = Scene::new(args, spec, *device);
    let mut strips: Vec<(&str, Strip)> = Vec::new();

    let test_images = || -> Result<Batch> {
        let data = RunData::open(experiment, &args.datasets.datasets)?;
        let test = data.test()?;
        let n = scene.noise.len().min(test.len());
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
        note("stopped: nothing is written");
        return Ok(ExitCode::from(EXIT_INTERRUPTED as u8));
    }

    let out = args.out.clone().unwrap_or_else(|| run.model(name).path().join("trajectory"));
    create_dir(&out)?;
    for (title, strip) in strips {
        let path = out.join(format!("{title}.png"));
        let picture = paragone_report::film_strip(&strip.frames, &strip.labels);
        paragone_report::save_png(&picture, &path)?;
        say(path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Pictures in the order of time, u8 `[n, c, h, w]` each, and what stands above each.
struct Strip {
    frames: Vec<Tensor>,
    labels: Vec<String>,
}

/// What all strips share.
struct Scene {
    conditions: Conditions,
    noise: Noise,
    frames: usize,
}

impl Scene {
    fn new(args: &TrajectoryArgs, data: &DataSpec, device: Device) -> Self {
        let classes = cycle_classes(data, args.n, args.n);
        let seeds = (0..args.n as u64).map(|i| args.seed + i).collect();
        Self {
            conditions: Conditions::of_classes(&classes, data, device),
            noise: Noise::new(seeds, device),
            frames: args.frames,
        }
    }

    /// `frames` numbers from 0 to 1.
    fn times(&self) -> impl Iterator<Item = f64> + use<> {
        let last = (self.frames - 1) as f64;
        (0..self.frames).map(move |i| i as f64 / last)
    }

    /// Test images on their way to noise.
    fn noising(&self, noising: &dyn Noising, test: &Batch) -> Result<Strip> {
        let noise = self.noise.narrow(0, test.len());
        let mut strip = Strip { frames: Vec::new(), labels: Vec::new() };
        for time in self.times() {
            strip.frames.push(to_bytes(&noising.noised(&test.images, time, &noise)?));
            strip.labels.push(format!("{:.0} %", time * 100.0));
        }
        Ok(strip)
    }

    /// The picture at each of some network calls, and at last what came out; `None` if there is only one, or when the
    /// user asked to stop.
    fn sampling(&self, model: &dyn Generator) -> Result<Option<Strip>> {
        let mut strip = Strip { frames: Vec::new(), labels: Vec::new() };
        let mut reporter = None;
        let mut on_step = |progress: Progress| {
            if progress.calls < 2 || interrupt::asked() {
                return ControlFlow::Break(());
            }
            let new = || Reporter::new("sampling", "calls", 0, progress.calls);
            reporter.get_or_insert_with(new).set(progress.call);
            // Frame i of f is shown at the call that is nearest to a share i / (f - 1) of all.
            let frames = self.frames.min(progress.calls as usize);
            let due = 1 + strip.frames.len() as u64 * (progress.calls - 1) / (frames as u64 - 1);
            if progress.call >= due {
                strip.frames.push(to_bytes(&(progress.images)()));
                strip.labels.push(format!("{} / {}", progress.call, progress.calls));
            }
            ControlFlow::Continue(())
        };
        let request = SampleRequest::new(&self.conditions, &self.noise);
        let drawn = tch::no_grad(|| model.sample(&request, &mut on_step));
        if let Some(reporter) = reporter {
            reporter.finish();
        }
        match drawn {
            Ok(images) => {
                strip.frames.splice(strip.frames.len() - 1.., [to_bytes(&images)]);
                Ok(Some(strip))
            }
            Err(Error::Stopped) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Test images, and what their latents bring back with nothing left to chance; `None` when the user asked to stop.
    fn reconstruction(&self, latents: &dyn Latents, test: &Batch) -> Result<Option<Strip>> {
        let noise = self.noise.narrow(0, test.len());
        let mut reporter = None;
        let mut on_step = |progress: Progress| {
            let new = || Reporter::new("reconstruction", "calls", 0, progress.calls);
            reporter.get_or_insert_with(new).set(progress.call);
            if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let encoded = latents.encode(test, &noise, &mut on_step);
        if let Some(reporter) = reporter {
            reporter.finish();
        }
        let z = match encoded {
            Ok(z) => z,
            Err(Error::Stopped) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let request =
            SampleRequest { temperature: 0.0, ..SampleRequest::new(&test.conditions, &noise) };
        let decoded = tch::no_grad(|| latents.decode(&z, &request))?;
        let frames = vec![to_bytes(&test.images), to_bytes(&decoded)];
        Ok(Some(Strip { frames, labels: vec!["test image".into(), "decoded".into()] }))
    }

    /// From one draw of the prior to another on the sphere that the prior's mass lies near.
    fn walk(&self, latents: &dyn Latents) -> Result<Strip> {
        let dim = latents.latent_dim();
        let (from, to) = (self.noise.normal(0, &[dim]), self.noise.fork(1).normal(0, &[dim]));
        let request = SampleRequest::new(&self.conditions, &self.noise);
        let mut strip = Strip { frames: Vec::new(), labels: Vec::new() };
        for time in self.times() {
            let angle = time * std::f64::consts::FRAC_PI_2;
            let z = &from * angle.cos() + &to * angle.sin();
            strip.frames.push(to_bytes(&tch::no_grad(|| latents.decode(&z, &request))?));
            strip.labels.push(format!("{:.0} %", time * 100.0));
        }
        Ok(strip)
    }
}
