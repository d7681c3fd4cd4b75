//! `paragone data`: datasets listed, fetched, shown.

use super::say;
use crate::{
    cli::{DataArgs, DataCommand},
    data::{open, watched},
};
use anyhow::Result;
use paragone_data::{Condition, DataConfig, Split, Watch};
use std::{path::Path, process::ExitCode};
use tch::Tensor;

pub fn execute(args: &DataArgs) -> Result<ExitCode> {
    let datasets = &args.datasets.datasets;
    match &args.command {
        DataCommand::List => list(datasets),
        DataCommand::Fetch { dataset, from } => fetch(dataset, from.as_deref(), datasets)?,
        DataCommand::Show { dataset, size, path, out } => {
            let config = DataConfig {
                dataset: dataset.clone(),
                size: *size,
                path: path.clone(),
                // Whatever there is, classes and captions or neither.
                condition: Condition::None,
                ..DataConfig::default()
            };
            show(&config, datasets, out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(datasets: &Path) {
    for spec in paragone_data::specs() {
        let here = match spec.files.is_empty() {
            true => "needs no fetching",
            false if spec.is_in(&datasets.join(&spec.name)) => "here",
            false => "not fetched",
        };
        say(format_args!("{:<16} {here:<18} {}", spec.name, spec.title));
    }
}

/// Fetches a dataset that is not here yet.
pub fn fetch(dataset: &str, from: Option<&Path>, datasets: &Path) -> Result<()> {
    let fetch = |watch: Watch<'_>| paragone_data::fetch(dataset, from, datasets, watch);
    let folder = watched(dataset, "bytes", fetch)?;
    say(format_args!("{dataset} is in {}", folder.display()));
    Ok(())
}

/// Columns of a contact sheet of a dataset without classes.
const COLUMNS: usize = 10;
/// Its rows.
const ROWS: usize = 8;

/// One column a class, test images.
fn show(config: &DataConfig, datasets: &Path, out: &Path) -> Result<()> {
    let dataset = open(config, datasets)?;
    let test = dataset.load(Split::Test)?;
    let columns = match dataset.class_names().len() {
        0 => COLUMNS,
        classes => classes.min(2 * COLUMNS),
    };
    let rows: Vec<i64> = match &test.classes {
        Some(classes) => class_columns(&Vec::<i64>::try_from(classes)?, columns),
        None => (0..test.len().min((ROWS * COLUMNS) as i64)).collect(),
    };
    let images = test.images.index_select(0, &Tensor::from_slice(&rows));
    let sheet = paragone_report::sample_grid(&images, columns);
    paragone_report::save_png(&sheet, out)?;
    match dataset.class_names() {
        [] => say(format_args!("{}", out.display())),
        names => say(format_args!("{}: {}", out.display(), names.join(", "))),
    }
    Ok(())
}

/// Indices of images in rows of a sheet whose column c shows class c.
fn class_columns(classes: &[i64], columns: usize) -> Vec<i64> {
    let nth = |class: usize, n: usize| {
        let of_class = classes.iter().enumerate().filter(|(_, c)| **c == class as i64);
        of_class.map(|(i, _)| i as i64).nth(n)
    };
    let cells = (0..ROWS).flat_map(|row| (0..columns).map(move |class| (row, class)));
    cells.map_while(|(row, class)| nth(class, row)).collect()
}
