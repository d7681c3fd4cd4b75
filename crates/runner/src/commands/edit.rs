//! `paragone edit`: changes a picture to fit a text or a class.

use super::{
    ask::{MOST_AT_ONCE, Opened, seed_label, seeds},
    given::{Given, check_outputs},
    say, stopped,
};
use crate::{
    cli::EditArgs,
    data::class_id,
    draw::{Drawing, Task},
    log::{Reporter, note},
};
use anyhow::{Result, anyhow, bail, ensure};
use paragone_core::Conditions;
use paragone_report::{GridOptions, Row, comparison_grid, save_png};
use std::process::ExitCode;
use tch::{Device, Tensor};

pub fn execute(args: &EditArgs) -> Result<ExitCode> {
    ensure!(args.n > 0, "--n is 0, but must be at least 1");
    args.ask.check()?;
    for strength in &args.strength {
        ensure!((0.0..=1.0).contains(strength), "--strength {strength}: must be from 0 to 1");
    }
    let inputs = [args.image.as_str(), args.mask.as_deref().unwrap_or_default()];
    check_outputs(&args.out, args.images.as_deref(), &inputs)?;
    let opened = Opened::open(&args.model)?;
    let Opened { trained, name, device, .. } = &opened;
    let edit = trained.model.edit().map_err(|lacks| anyhow!("{name}: {lacks}"))?;
    let (method, told) =
        (edit.method(), args.source_prompt.is_some() || args.source_class.is_some());
    if told && !edit.reads_source() {
        note(&format!(
            "{name}: what the picture shows has no effect on its edits, only what it is to become"
        ));
    }
    let given = Given::open(&args.image, &opened, &args.datasets.datasets)?;
    let hole = args.mask.as_deref().map(|mask| given.hole(mask, args.seed)).transpose()?;
    let prompts = args.ask.condition.written_prompts()?;
    let Some(asked) = opened.asked(&args.ask.condition, &prompts, args.n)? else {
        bail!("say what the picture is to become: --prompt TEXT or --class CLASS")
    };
    let known = || hole.as_ref().map(|hole| given.known(hole, args.n));
    // A model that is shown known pixels is shown none unless there is a mask.
    let with_known = |conditions: Conditions| match known() {
        Some(known) => conditions.with_known(Some(known)),
        None => conditions,
    };
    let asked = with_known(asked);
    let negative = opened.unwanted(&args.ask, args.n)?.map(with_known);
    let source = given.batch(args.n, shown(args, &given, &opened)?);
    let seeds = seeds(args.seed, args.n)?;
    let total = (args.n * args.strength.len()) as u64;
    let mut reporter = Reporter::new(name, "images", 0, total);
    let (mut columns, mut seconds, mut calls) = (vec![given.levels().shallow_clone()], 0.0, 0);
    for (i, &strength) in args.strength.iter().enumerate() {
        let drawing = Drawing {
            task: Task::Edit { source: &source, strength },
            guidance_scale: args.ask.guidance_scale,
            temperature: args.ask.temperature,
            negative: negative.as_ref(),
            ..Drawing::new(&asked, seeds.clone(), args.n.min(MOST_AT_ONCE))
        };
        let Some(drawn) = drawing.draw(&*trained.model, *device, None)? else {
            reporter.finish();
            return Ok(stopped());
        };
        reporter.set(((i + 1) * args.n) as u64);
        seconds += drawn.seconds;
        calls += drawn.network_calls;
        columns.push(drawn.levels);
    }
    reporter.finish();

    let mut labels = vec!["given".to_owned()];
    labels.extend(args.strength.iter().map(|strength| format!("strength {strength}")));
    let rows: Vec<Row> = seeds
        .iter()
        .enumerate()
        .map(|(i, seed)| {
            let one = |column: &Tensor| column.get((i as i64).min(column.size()[0] - 1));
            let images = Tensor::stack(&columns.iter().map(one).collect::<Vec<_>>(), 0);
            Row { label: seed_label(*seed, i, &prompts), images }
        })
        .collect();
    let options = GridOptions { reference_rows: 0, ..GridOptions::default() };
    save_png(&comparison_grid(&rows, &labels, labels.len(), &options), &args.out)?;
    if let Some(folder) = &args.images {
        for (strength, column) in args.strength.iter().zip(&columns[1..]) {
            for (i, seed) in seeds.iter().enumerate() {
                let path = folder.join(format!("strength-{strength}-seed-{seed}.png"));
                match strength {
                    0.0 => given.save_as_it_was(&path)?,
                    _ => given.save(&column.get(i as i64), hole.as_ref(), &path)?,
                }
            }
        }
    }
    given.note_size(args.images.as_deref());
    say(format_args!(
        "{}: {total} edits by {method}, {:.0} network calls each, {:.3} s an image",
        args.out.display(),
        calls as f64 / args.strength.len() as f64,
        seconds / total as f64
    ));
    Ok(ExitCode::SUCCESS)
}

/// What the picture shows.
fn shown(args: &EditArgs, given: &Given, opened: &Opened) -> Result<Conditions> {
    if let Some(prompt) = &args.source_prompt {
        return opened.prompted(std::slice::from_ref(prompt), args.n);
    }
    let Some(class) = &args.source_class else { return Ok(given.conditions(args.n, opened)) };
    let data = &opened.trained.spec;
    ensure!(data.num_classes > 0, "--source-class: {} was trained without classes", opened.name);
    let class = class_id(class, &opened.class_names)?;
    Ok(Conditions::of_classes(&vec![class; args.n], data, Device::Cpu))
}
