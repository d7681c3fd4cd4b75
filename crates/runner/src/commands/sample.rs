//! `paragone sample`: new images from a trained model.

use super::{
    ask::{COLUMNS, Opened, rows_by_prompt, seeds},
    given::check_outputs,
    say, stopped,
};
use crate::{cli::SampleArgs, draw::Drawing, log::Reporter, prompts::cycle_classes};
use anyhow::{Result, bail, ensure};
use image::RgbImage;
use paragone_core::Conditions;
use paragone_report::{GridOptions, Row, comparison_grid, picture, sample_grid, save_png};
use std::process::ExitCode;
use tch::{Device, Tensor};

pub fn execute(args: &SampleArgs) -> Result<ExitCode> {
    ensure!(args.n > 0, "--n is 0, but must be at least 1");
    ensure!(args.batch_size > 0, "--batch-size is 0, but must be at least 1");
    ensure!(args.columns != Some(0), "--columns is 0, but must be at least 1");
    args.ask.check()?;
    check_outputs(&args.out, args.images.as_deref(), &[])?;
    let opened = Opened::open(&args.model)?;
    let prompts = args.ask.condition.written_prompts()?;
    let conditions = asked(args, &prompts, &opened)?;
    let negative = opened.unwanted(&args.ask, args.n)?;
    let seeds = seeds(args.seed, args.n)?;
    let drawing = Drawing {
        guidance_scale: args.ask.guidance_scale,
        temperature: args.ask.temperature,
        negative: negative.as_ref(),
        ..Drawing::new(&conditions, seeds.clone(), args.batch_size)
    };
    let mut reporter = Reporter::new(&opened.name, "images", 0, args.n as u64);
    let drawn = drawing.draw(&*opened.trained.model, opened.device, Some(&mut reporter))?;
    reporter.finish();
    let Some(drawn) = drawn else { return Ok(stopped()) };
    let grid = grid(&drawn.levels, &prompts, args.columns);
    save_png(&grid, &args.out)?;
    if let Some(folder) = &args.images {
        for (i, seed) in seeds.iter().enumerate() {
            let image = picture(&drawn.levels.get(i as i64));
            save_png(&image, &folder.join(format!("seed-{seed}.png")))?;
        }
    }
    say(format_args!(
        "{}: {} images, {} network calls each, {:.3} s an image",
        args.out.display(),
        args.n,
        drawn.network_calls,
        drawn.seconds / args.n as f64
    ));
    Ok(ExitCode::SUCCESS)
}

/// Images, u8 `[n, c, h, w]`, that prompts were asked for in turn: of several prompts each has a column, of more than fit a line.
fn grid(images: &Tensor, prompts: &[String], columns: Option<usize>) -> RgbImage {
    let options = GridOptions { reference_rows: 0, ..GridOptions::default() };
    let (n, number) = (images.size()[0], prompts.len());
    if number < 2 {
        return sample_grid(images, columns.unwrap_or(COLUMNS));
    }
    if number <= COLUMNS && columns.is_none_or(|columns| columns == number) {
        let row = Row { label: String::new(), images: images.shallow_clone() };
        return comparison_grid(&[row], prompts, number, &options);
    }
    let most = (n as usize).div_ceil(number);
    let rows = rows_by_prompt(images, prompts);
    comparison_grid(&rows, &[], columns.unwrap_or(COLUMNS).min(most), &options)
}

/// What each image is asked to be: without any wish all classes in turn.
fn asked(args: &SampleArgs, prompts: &[String], opened: &Opened) -> Result<Conditions> {
    let (n, data) = (args.n, &opened.trained.spec);
    if args.unconditional {
        return Ok(Conditions::none(n as i64, data, Device::Cpu));
    }
    if let Some(conditions) = opened.asked(&args.ask.condition, prompts, n)? {
        return Ok(conditions);
    }
    if data.text.is_some() {
        bail!("{} draws what a text says: give --prompt TEXT, or --unconditional", opened.name);
    }
    let classes = cycle_classes(data, n, data.num_classes.max(1) as usize);
    Ok(Conditions::of_classes(&classes, data, Device::Cpu))
}
