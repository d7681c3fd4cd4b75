//! Pictures of a comparison: the same conditions for all models, and how each makes its images.

use super::{Compared, Model, tasks};
use crate::{
    data::RunData,
    draw::Drawing,
    evaluate::{Kept, Samples},
    interrupt,
    prompts::{Prompts, column_labels, real_images},
    strips::Scene,
    trained::Trained,
};
use anyhow::{Context, Result};
use paragone_metrics::Suspect;
use paragone_report::{Figure, GridOptions, Row, Section, comparison_grid};
use std::collections::HashSet;
use tch::{Device, Tensor};

/// Seed of the first image of the grid and of the strips.
const SEED: u64 = 0;
/// Most columns of the grid.
const MOST_COLUMNS: usize = 10;
/// Rows of images that each model has in the grid.
const GRID_ROWS: usize = 2;
/// Images of a film strip, and frames of each.
const STRIP: (usize, usize) = (4, 11);
/// Samples shown beside their nearest training images.
const PAIRS: usize = 10;

/// Draws all pictures; `None` when the user asked to stop. `command` makes those of all models again.
pub fn draw(
    runs: &[Compared],
    data: &RunData,
    device: Device,
    command: &str,
) -> Result<Option<Vec<Figure>>> {
    let columns = match data.spec.num_classes {
        0 => MOST_COLUMNS,
        classes => MOST_COLUMNS.min(classes as usize),
    };
    let cells = columns * GRID_ROWS;
    let prompts = Prompts::in_turn(data, cells, columns)?;
    let images = real_images(data, cells, columns)?;
    let source = if data.dataset.tests_other_things() { "training" } else { "test" };
    let mut rows = vec![Row { label: format!("{source} images"), images }];
    let mut figures = Vec::new();
    let mut shown = HashSet::new();
    for run in runs {
        for model in &run.models {
            let trained = Trained::load(run.config(model), &run.run.model(&model.name), device)?;
            let seeds = (0..cells as u64).map(|i| SEED + i).collect();
            let drawing = Drawing::new(&prompts.conditions, seeds, cells);
            let drawn = drawing.draw(&*trained.model, device, None)?;
            let Some(drawn) = drawn else { return Ok(None) };
            // Of several training seeds the first is shown.
            if shown.insert(run.identity(model)) {
                let Some(of_model) = of_model(run, model, &trained, data, device)? else {
                    return Ok(None);
                };
                figures.extend(of_model);
            }
            rows.push(Row { label: run.label(model, runs), images: drawn.levels });
        }
    }
    let labels = column_labels(data, columns)?;
    let grid = comparison_grid(&rows, &labels, columns, &GridOptions::default());
    let first = Figure {
        section: Section::Grids,
        title: "All models under the same conditions".to_owned(),
        caption: format!(
            "Each column asks for the same, each image has the same seed in all rows; nothing is \
             chosen, no knob is turned. Above stand {source} images."
        ),
        command: command.to_owned(),
        picture: grid,
        file: Some("grid.png"),
    };
    figures.insert(0, first);
    for task in [tasks::inpainting, tasks::editing, tasks::masked_editing] {
        match task(runs, data, device, command)? {
            None => {}
            Some(Some(figure)) => figures.push(figure),
            Some(None) => return Ok(None),
        }
    }
    Ok(Some(figures))
}

/// How one model makes its images, what it makes of test images, and what it may have learnt by heart; `None` when the
/// user asked to stop.
fn of_model(
    run: &Compared,
    model: &Model,
    trained: &Trained,
    data: &RunData,
    device: Device,
) -> Result<Option<Vec<Figure>>> {
    let dir = run.run.model(&model.name);
    let figure = |section, title: &str, caption: &str, picture| Figure {
        section,
        title: format!("{}: {title}", model.name),
        caption: caption.to_owned(),
        command: format!("paragone trajectory {}", dir.path().display()),
        picture,
        file: None,
    };
    let (n, frames) = STRIP;
    let scene = Scene::new(&Prompts::in_turn(data, n, n)?.conditions, frames, SEED, device);
    let mut figures = Vec::new();
    let strip = scene.sampling(&*trained.model)?;
    if interrupt::asked() {
        return Ok(None);
    }
    if let Some(strip) = strip {
        let caption = "From noise, or from nothing, to the image: the picture after some of its network calls.";
        figures.push(figure(Section::FilmStrips, "sampling", caption, strip.picture()));
    }
    if let Ok(latents) = trained.model.latents() {
        let test = data.test()?;
        let batch = test.batch(0, scene.num_images().min(test.len()), &data.spec).to_device(device);
        let Some(strip) = scene.reconstruction(latents, &batch)? else { return Ok(None) };
        let caption = "Test images, and what their latents bring back with nothing left to chance.";
        figures.push(figure(Section::Reconstructions, "reconstruction", caption, strip.picture()));
    }
    figures.extend(neighbours(run, model, data)?);
    Ok(Some(figures))
}

/// Samples with the training and the test image nearest to each, the most suspicious first; none where they were not looked
/// for, or the samples are no longer there.
fn neighbours(run: &Compared, model: &Model, data: &RunData) -> Result<Option<Figure>> {
    let Some(repetition) = &model.scores.repetition else { return Ok(None) };
    let suspects = &repetition.pixels.suspects[..repetition.pixels.suspects.len().min(PAIRS)];
    let seed = *run.experiment.eval.seeds.first().context("an evaluation seed")?;
    let source = model.scores.settings.source(&run.experiment, data)?;
    let kept = Kept::new(&run.run.model(&model.name), seed).read(&source);
    let Some(Samples { levels: samples, .. }) = kept else { return Ok(None) };
    let pick = |images: &Tensor, row: fn(&Suspect) -> i64| {
        let rows: Vec<i64> = suspects.iter().map(row).collect();
        images.index_select(0, &Tensor::from_slice(&rows))
    };
    let rows = [
        ("samples", pick(&samples, |suspect| suspect.image)),
        ("nearest in training", pick(&data.train.images, |suspect| suspect.train)),
        ("nearest in test", pick(&data.test()?.images, |suspect| suspect.held_out)),
    ];
    let rows = rows.map(|(label, images)| Row { label: label.to_owned(), images });
    let ratio = |suspect: &Suspect| {
        format!("{:.2}", suspect.train_distance / suspect.held_out_distance.max(f64::MIN_POSITIVE))
    };
    let labels: Vec<String> = suspects.iter().map(ratio).collect();
    Ok(Some(Figure {
        section: Section::NearestNeighbours,
        title: format!("{}: nearest images", model.name),
        caption: "The samples most suspected of repeating a training image, in pixels. Above each, its distance to the \
                  nearest training image over that to the nearest test image: 0 is a copy."
            .to_owned(),
        command: format!("paragone eval {}", run.run.path().display()),
        picture: comparison_grid(&rows, &labels, suspects.len().max(1), &GridOptions::default()),
        file: None,
    }))
}
