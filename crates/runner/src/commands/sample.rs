//! `paragone sample`: new images from a trained model.

use super::{ask::Opened, say};
use crate::{
    cli::SampleArgs, draw::Drawing, interrupt::EXIT_INTERRUPTED, log::Reporter,
    prompts::cycle_classes,
};
use anyhow::{Result, bail, ensure};
use paragone_core::Conditions;
use paragone_report::{GridOptions, Row, comparison_grid, sample_grid, save_png};
use std::process::ExitCode;
use tch::Device;

/// Columns of a grid, and most columns that prompts get one each of.
const COLUMNS: usize = 8;

pub fn execute(args: &SampleArgs) -> Result<ExitCode> {
    ensure!(args.n > 0, "--n is 0, but must be at least 1");
    ensure!(args.batch_size > 0, "--batch-size is 0, but must be at least 1");
    ensure!(args.columns != Some(0), "--columns is 0, but must be at least 1");
    args.ask.check()?;
    let opened = Opened::open(&args.model)?;
    let prompts = args.ask.condition.written_prompts()?;
    ensure!(
        prompts.len() <= args.n,
        "--n is {}, but there are {} prompts: give at least as many images",
        args.n,
        prompts.len()
    );
    let conditions = asked(args, &prompts, &opened)?;
    let negative = opened.unwanted(&args.ask, args.n)?;
    let drawing = Drawing {
        guidance_scale: args.ask.guidance_scale,
        temperature: args.ask.temperature,
        negative: negative.as_ref(),
        ..Drawing::new(
            &conditions,
            (0..args.n as u64).map(|i| args.seed + i).collect(),
            args.batch_size,
        )
    };
    let mut reporter = Reporter::new(&opened.name, "images", 0, args.n as u64);
    let drawn = drawing.draw(&*opened.trained.model, opened.device, Some(&mut reporter))?;
    reporter.finish();
    let Some(drawn) = drawn else { return Ok(ExitCode::from(EXIT_INTERRUPTED as u8)) };
    let one_each = (2..=COLUMNS).contains(&prompts.len()).then_some(prompts.len());
    let columns = args.columns.or(one_each).unwrap_or(COLUMNS);
    let grid = if columns == prompts.len() {
        let row = Row { label: String::new(), images: drawn.levels };
        let options = GridOptions { reference_rows: 0, ..GridOptions::default() };
        comparison_grid(&[row], &prompts, columns, &options)
    } else {
        sample_grid(&drawn.levels, columns)
    };
    save_png(&grid, &args.out)?;
    say(format_args!(
        "{}: {} images, {} network calls each, {:.3} s an image",
        args.out.display(),
        args.n,
        drawn.network_calls,
        drawn.seconds / args.n as f64
    ));
    Ok(ExitCode::SUCCESS)
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
