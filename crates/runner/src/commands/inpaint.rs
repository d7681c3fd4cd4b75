//! `paragone inpaint`: fills the hole in a picture.

use super::{
    ask::{COLUMNS, MOST_AT_ONCE, Opened, rows_by_prompt, seed_label, seeds},
    given::{Given, check_outputs},
    say, stopped,
};
use crate::{
    cli::InpaintArgs,
    draw::{Drawing, Task, hidden},
    log::Reporter,
};
use anyhow::{Result, anyhow, ensure};
use image::RgbImage;
use paragone_report::{GridOptions, Row, comparison_grid, save_png};
use std::process::ExitCode;
use tch::Tensor;

pub fn execute(args: &InpaintArgs) -> Result<ExitCode> {
    ensure!(args.n > 0, "--n is 0, but must be at least 1");
    args.ask.check()?;
    check_outputs(&args.out, args.images.as_deref(), &[&args.image, &args.mask])?;
    let opened = Opened::open(&args.model)?;
    let Opened { trained, name, device, .. } = &opened;
    let method = trained.model.inpaint().map_err(|lacks| anyhow!("{name}: {lacks}"))?.method();
    let given = Given::open(&args.image, &opened, &args.datasets.datasets)?;
    let hole = given.hole(&args.mask, args.seed)?;
    let prompts = args.ask.condition.written_prompts()?;
    let conditions = match opened.asked(&args.ask.condition, &prompts, args.n)? {
        Some(asked) => asked,
        None => given.conditions(args.n, &opened),
    };
    let conditions = conditions.with_known(Some(given.known(&hole, args.n)));
    let negative = opened.unwanted(&args.ask, args.n)?;
    let negative = negative.map(|it| it.with_known(Some(given.known(&hole, args.n))));
    let seeds = seeds(args.seed, args.n)?;
    let drawing = Drawing {
        task: Task::Inpaint,
        guidance_scale: args.ask.guidance_scale,
        temperature: args.ask.temperature,
        negative: negative.as_ref(),
        ..Drawing::new(&conditions, seeds.clone(), args.n.min(MOST_AT_ONCE))
    };
    let mut reporter = Reporter::new(name, "images", 0, args.n as u64);
    let drawn = drawing.draw(&*trained.model, *device, Some(&mut reporter))?;
    reporter.finish();
    let Some(drawn) = drawn else { return Ok(stopped()) };

    let with_hole = hidden(given.levels(), hole.mask());
    let asked = Tensor::cat(&[given.levels(), &with_hole], 0);
    save_png(&grid(&asked, &drawn.levels, &seeds, &prompts), &args.out)?;
    if let Some(folder) = &args.images {
        for (i, seed) in seeds.iter().enumerate() {
            let path = folder.join(format!("seed-{seed}.png"));
            given.save(&drawn.levels.get(i as i64), Some(&hole), &path)?;
        }
    }
    given.note_size(args.images.as_deref());
    say(format_args!(
        "{}: {} completions by {method}, {} network calls each, {:.3} s an image",
        args.out.display(),
        args.n,
        drawn.network_calls,
        drawn.seconds / args.n as f64
    ));
    Ok(ExitCode::SUCCESS)
}

/// The picture without and with its hole, then the completions: beside these if they are few, else below, a line a prompt.
fn grid(asked: &Tensor, completions: &Tensor, seeds: &[u64], prompts: &[String]) -> RgbImage {
    if seeds.len() > COLUMNS {
        let mut rows = vec![Row { label: "given".into(), images: asked.shallow_clone() }];
        rows.extend(rows_by_prompt(completions, prompts));
        return comparison_grid(&rows, &[], COLUMNS, &GridOptions::default());
    }
    let images = Tensor::cat(&[asked, completions], 0);
    let mut labels = vec!["given".to_owned(), "with its hole".to_owned()];
    labels.extend(seeds.iter().enumerate().map(|(i, &seed)| seed_label(seed, i, prompts)));
    let options = GridOptions { reference_rows: 0, ..GridOptions::default() };
    comparison_grid(&[Row { label: String::new(), images }], &labels, labels.len(), &options)
}
