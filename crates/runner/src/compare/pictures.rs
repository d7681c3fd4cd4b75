//! Pictures of a comparison.

use super::Compared;
use crate::{
    data::RunData,
    draw::{Drawing, cycle_classes},
    trained::Trained,
};
use anyhow::{Context, Result};
use paragone_report::{GridOptions, Row, comparison_grid};
use std::collections::BTreeMap;
use tch::{Device, Tensor};

/// Seed of the first image of the grid.
const GRID_SEED: u64 = 0;
/// Most columns of the grid.
const MOST_COLUMNS: usize = 10;
/// Rows of images that each model has in the grid.
const GRID_ROWS: usize = 2;

/// The picture: real images of each class, then each model asked for the same classes with the same seeds; `None` when
/// the user asked to stop.
pub fn grid(runs: &[Compared], data: &RunData, device: Device) -> Result<Option<image::RgbImage>> {
    let columns = match data.spec.num_classes {
        0 => MOST_COLUMNS,
        classes => MOST_COLUMNS.min(classes as usize),
    };
    let cells = columns * GRID_ROWS;
    let classes = cycle_classes(&data.spec, cells, columns);
    let mut rows =
        vec![Row { label: "test images".to_owned(), images: real_images(data, &classes)? }];
    for run in runs {
        for super::Model { name, .. } in &run.models {
            let config = run.experiment.model(name).context("a model of the run")?;
            let trained = Trained::load(config, &run.run.model(name), device)?;
            let seeds = (0..cells as u64).map(|i| GRID_SEED + i).collect();
            let drawing = Drawing::new(classes.clone(), seeds, cells);
            let drawn = drawing.draw(&*trained.model, &trained.spec, device, None)?;
            let Some(drawn) = drawn else { return Ok(None) };
            let label = match runs.len() {
                1 => name.clone(),
                _ => format!("{} {name}", run.run.path().display()),
            };
            rows.push(Row { label, images: drawn.levels });
        }
    }
    let labels = data.class_names().iter().take(columns).cloned().collect::<Vec<_>>();
    Ok(Some(comparison_grid(&rows, &labels, columns, &GridOptions::default())))
}

/// Test images of the asked classes, in their order, from the start again if there are too few; blank for a class that has
/// none.
fn real_images(data: &RunData, asked: &[i64]) -> Result<Tensor> {
    let test = data.test()?;
    let Some(classes) = test.classes.as_ref().filter(|_| data.spec.num_classes > 0) else {
        let rows: Vec<i64> = (0..asked.len() as i64).map(|i| i % test.len()).collect();
        return Ok(test.images.index_select(0, &Tensor::from_slice(&rows)));
    };
    let mut of_class: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (row, class) in Vec::<i64>::try_from(classes)?.into_iter().enumerate() {
        of_class.entry(class).or_default().push(row as i64);
    }
    let mut shown: BTreeMap<i64, usize> = BTreeMap::new();
    let images = asked.iter().map(|class| {
        let nth = shown.entry(*class).or_default();
        *nth += 1;
        match of_class.get(class) {
            Some(rows) => test.images.get(rows[(*nth - 1) % rows.len()]),
            None => test.images.get(0).full_like(255),
        }
    });
    Ok(Tensor::stack(&images.collect::<Vec<_>>(), 0))
}
