//! `paragone audit`: do scores rank sets of images as the truth does?

use super::{prepare, say};
use crate::{
    audit::{AuditedModel, Plan, World, audit, models_of, page},
    cli::AuditArgs,
    files::{Lock, RunDir, create_dir, write_atomically},
    interrupt::EXIT_INTERRUPTED,
    log::note,
};
use anyhow::{Result, ensure};
use paragone_data::DataConfig;
use std::process::ExitCode;

pub fn execute(args: &AuditArgs) -> Result<ExitCode> {
    let mut sizes = args.n.clone();
    sizes.sort_unstable();
    sizes.dedup();
    let least = sizes.first().copied().unwrap_or(0);
    ensure!(
        least >= 10,
        "--n is {least}, but scores from nearest neighbours need at least 10 images"
    );
    ensure!(args.seeds > 0, "--seeds is 0, but must be at least 1");
    let device = prepare(&args.device, None)?;
    let (config, hash, models) = asked(args)?;
    let world = World::open(&config)?;
    let first = args.runs.first().map(|run| run.display().to_string()).unwrap_or_default();
    ensure!(
        hash.is_none_or(|hash| hash == world.train.hash),
        "the images of shapes are no longer those that {first} was trained on"
    );
    let most = world.train.len() as u64;
    let largest = sizes.last().copied().unwrap_or(0);
    ensure!(
        largest <= most,
        "--n is {largest}, but there are only {most} training images to compare with"
    );
    create_dir(&args.out)?;
    let _lock = Lock::take(&args.out)?;
    let plan = Plan { sizes, seeds: args.seeds, models };
    let Some(audit) = audit(&plan, &world, &args.out, device)? else {
        note(&format!("{} is unfinished: the same command continues it", args.out.display()));
        return Ok(ExitCode::from(EXIT_INTERRUPTED as u8));
    };
    let page = page(&audit);
    write_atomically(&args.out.join("audit.md"), page.as_bytes())?;
    say(page);
    say(format_args!("scores of every set: {}", args.out.display()));
    Ok(ExitCode::SUCCESS)
}

/// The data to audit on, the hash that its training images must have, and the models.
fn asked(args: &AuditArgs) -> Result<(DataConfig, Option<String>, Vec<AuditedModel>)> {
    let Some((first, others)) = args.runs.split_first() else {
        let scenes = args.scenes.unwrap_or_default().into();
        return Ok((
            DataConfig { size: args.size, scenes, ..DataConfig::default() },
            None,
            Vec::new(),
        ));
    };
    let (config, hash, mut models) = models_of(&RunDir::new(first))?;
    for run in others {
        let (_, other, more) = models_of(&RunDir::new(run))?;
        ensure!(
            other == hash,
            "{} and {} were trained on different images: audit them one by one",
            first.display(),
            run.display()
        );
        models.extend(more);
    }
    // Runs of a sweep have folders of the same name as those of another.
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    for model in &mut models {
        if names.iter().filter(|name| **name == model.name).count() > 1 {
            model.name = model.folder.display().to_string();
        }
    }
    Ok((config, Some(hash), models))
}
