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
    let cells: Vec<Option<i64>> = match &test.classes {
        Some(classes) => class_columns(&Vec::<i64>::try_from(classes)?, columns),
        None => (0..test.len().min((ROWS * COLUMNS) as i64)).map(Some).collect(),
    };
    let blank = || test.images.get(0).full_like(255);
    let images = cells.iter().map(|cell| cell.map_or_else(blank, |row| test.images.get(row)));
    let images = Tensor::stack(&images.collect::<Vec<_>>(), 0);
    let sheet = paragone_report::sample_grid(&images, columns);
    paragone_report::save_png(&sheet, out)?;
    match dataset.class_names() {
        [] => say(format_args!("{}", out.display())),
        names => say(format_args!("{}: {}", out.display(), names[..columns].join(", "))),
    }
    Ok(())
}

/// Indices of images in rows of a sheet whose column c shows class c, as far as there are any.
fn class_columns(classes: &[i64], columns: usize) -> Vec<Option<i64>> {
    let nth = |class: usize, n: usize| {
        let of_class = classes.iter().enumerate().filter(|(_, c)| **c == class as i64);
        of_class.map(|(i, _)| i as i64).nth(n)
    };
    let rows = (0..ROWS).map(|row| (0..columns).map(|class| nth(class, row)).collect());
    rows.take_while(|row: &Vec<_>| row.iter().any(Option::is_some)).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_with_fewer_images_leaves_its_column_short() {
        let cells = class_columns(&[1, 2, 1, 1], 3);
        assert_eq!(cells, [None, Some(0), Some(1), None, Some(2), None, None, Some(3), None]);
    }
}
