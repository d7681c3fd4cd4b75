//! `paragone compare`: finished runs side by side.

use super::{prepare, say};
use crate::{
    cli::CompareArgs,
    compare::{self, Compared},
    data::RunData,
    files::RunDir,
    interrupt::EXIT_INTERRUPTED,
};
use anyhow::{Result, bail};
use std::process::ExitCode;

pub fn execute(args: &CompareArgs) -> Result<ExitCode> {
    let device = prepare(&args.device, None)?;
    let runs = args.runs.iter().map(|run| Compared::read(&RunDir::new(run)));
    let runs: Vec<Compared> = runs.collect::<Result<_>>()?;
    let (groups, reasons) = compare::apart(runs);
    if let Some(reason) = reasons.first()
        && !args.allow_mismatch
    {
        bail!("{reason}");
    }
    let several = groups.len() > 1;
    for (i, group) in groups.iter().enumerate() {
        let data = RunData::open(&group[0].experiment, &args.datasets.datasets)?;
        let out =
            if several { args.out.join(format!("apart-{}", i + 1)) } else { args.out.clone() };
        let Some(table) = compare::write(group, &data, &out, device)? else {
            return Ok(ExitCode::from(EXIT_INTERRUPTED as u8));
        };
        say(table);
        say(format_args!("pictures and scores: {}", out.display()));
        if let Some(reason) = reasons.get(i) {
            say(format_args!("\napart, for {reason}\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
