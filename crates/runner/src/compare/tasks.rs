//! Pictures of tasks: the same holes and the same edits for all models.

use super::{Compared, Model};
use crate::{
    data::RunData,
    draw::{Drawing, Task, hidden},
    evaluate::{Holes, Pairs},
    trained::Trained,
};
use anyhow::{Context, Result};
use paragone_core::{Batch, from_levels};
use paragone_report::{Figure, GridOptions, Row, Section, comparison_grid};
use std::collections::HashSet;
use tch::{Device, Tensor};

/// Images with each kind of hole or edit.
const EACH: u64 = 2;

/// Holes in test images, and what each model fills them with; `None` if none were scored, `Some(None)` when the user asked to
/// stop.
pub fn inpainting(
    runs: &[Compared],
    data: &RunData,
    device: Device,
    command: &str,
) -> Result<Option<Option<Figure>>> {
    let mut configs = runs.iter().map(|run| &run.experiment.eval.inpainting);
    let Some(config) = configs.find(|config| config.images > 0) else { return Ok(None) };
    let holes = Holes::all(&config.masks, data, EACH)?;
    let cat =
        |of: &dyn Fn(&Holes) -> Tensor| Tensor::cat(&holes.iter().map(of).collect::<Vec<_>>(), 0);
    let mut rows = vec![
        Row {
            label: "test images".to_owned(),
            images: cat(&|holes| holes.originals.shallow_clone()),
        },
        Row {
            label: "hidden".to_owned(),
            images: cat(&|holes| hidden(&holes.originals, &holes.known.mask)),
        },
    ];
    let conditions = holes
        .iter()
        .map(Holes::conditions)
        .reduce(|all, next| all.followed_by(&next))
        .context("no kind of mask suits the data")?;
    let models = every_model(runs, device, |_, trained| {
        if trained.model.inpaint().is_err() {
            return Ok(Filled::Lacking);
        }
        let seeds = (0..conditions.len() as u64).collect();
        let drawing = Drawing {
            task: Task::Inpaint,
            ..Drawing::new(&conditions, seeds, conditions.len() as usize)
        };
        Ok(match drawing.draw(&*trained.model, device, None)? {
            Some(drawn) => Filled::Images(drawn.levels),
            None => Filled::Stopped,
        })
    })?;
    let Some(models) = models else { return Ok(Some(None)) };
    rows.extend(models);
    let first = |i, name: &str| if i == 0 { name.to_owned() } else { String::new() };
    let labels: Vec<String> = holes
        .iter()
        .flat_map(|holes| (0..EACH).map(move |i| first(i, holes.kind.name())))
        .collect();
    Ok(Some(Some(Figure {
        section: Section::Inpainting,
        title: "The same holes".to_owned(),
        caption: "Test images above, the same with parts hidden, and what each model makes of these; the seed of a column is the same in all rows, \
                  nothing is chosen."
            .to_owned(),
        command: command.to_owned(),
        picture: grid(&rows, &labels),
    })))
}

/// Pictures before and after edits, and what each model makes of the first; as [`inpainting`].
pub fn editing(
    runs: &[Compared],
    data: &RunData,
    device: Device,
    command: &str,
) -> Result<Option<Option<Figure>>> {
    let mut configs = runs.iter().map(|run| &run.experiment.eval.editing);
    let Some(config) = configs.find(|config| config.pairs > 0) else { return Ok(None) };
    let pairs = Pairs::all(&config.kinds, data, EACH);
    if pairs.is_empty() {
        return Ok(None);
    }
    let cat =
        |of: &dyn Fn(&Pairs) -> &Tensor| Tensor::cat(&pairs.iter().map(of).collect::<Vec<_>>(), 0);
    let before = cat(&|pairs| &pairs.edits.sources.images);
    let mut rows = vec![
        Row { label: "before".to_owned(), images: before },
        Row { label: "after".to_owned(), images: cat(&|pairs| &pairs.edits.targets.images) },
    ];
    let models = every_model(runs, device, |model, trained| {
        let Some(scores) = &model.scores.editing else { return Ok(Filled::Lacking) };
        if trained.model.edit().is_err() {
            return Ok(Filled::Lacking);
        }
        let mut images = Vec::new();
        for pairs in &pairs {
            let best = scores.best(pairs.kind.name()).context("a kind that was scored")?;
            let conditions = pairs.before.conditions.shallow_clone();
            let source = Batch { images: from_levels(&pairs.edits.sources.images), conditions };
            let drawing = Drawing {
                task: Task::Edit { source: &source, strength: best },
                ..Drawing::new(&pairs.after.conditions, (0..EACH).collect(), EACH as usize)
            };
            match drawing.draw(&*trained.model, device, None)? {
                Some(drawn) => images.push(drawn.levels),
                None => return Ok(Filled::Stopped),
            }
        }
        Ok(Filled::Images(Tensor::cat(&images, 0)))
    })?;
    let Some(models) = models else { return Ok(Some(None)) };
    rows.extend(models);
    let labels: Vec<String> = pairs
        .iter()
        .flat_map(|Pairs { kind, edits, .. }| {
            let told = edits.targets.captions.as_deref().filter(|_| data.spec.text.is_some());
            (0..EACH as usize).map(move |i| match (told, i) {
                (Some(captions), _) => format!("{}: {}", kind.name(), captions[i]),
                (None, 0) => kind.name().to_owned(),
                (None, _) => String::new(),
            })
        })
        .collect();
    Ok(Some(Some(Figure {
        section: Section::Editing,
        title: "The same edits".to_owned(),
        caption: "Pictures before and after an edit above, and what each model makes of the first, told what the second shows; each at the \
                  strength at which most of its edits of that kind are right. The seed of a column is the same in all rows."
            .to_owned(),
        command: command.to_owned(),
        picture: grid(&rows, &labels),
    })))
}

/// What a model made.
enum Filled {
    Images(Tensor),
    /// Nothing: it lacks the task.
    Lacking,
    /// The user asked to stop.
    Stopped,
}

/// A row for each model, of several training seeds the first; `None` when the user asked to stop.
fn every_model(
    runs: &[Compared],
    device: Device,
    mut make: impl FnMut(&Model, &Trained) -> Result<Filled>,
) -> Result<Option<Vec<Row>>> {
    let (mut rows, mut shown) = (Vec::new(), HashSet::new());
    for run in runs {
        for model in &run.models {
            if !shown.insert(run.identity(model)) {
                continue;
            }
            let trained = Trained::load(run.config(model), &run.run.model(&model.name), device)?;
            match make(model, &trained)? {
                Filled::Images(images) => {
                    rows.push(Row { label: run.label(model, runs), images });
                }
                Filled::Lacking => {}
                Filled::Stopped => return Ok(None),
            }
        }
    }
    Ok(Some(rows))
}

/// Two rows to compare with above the models, and a label above each column.
fn grid(rows: &[Row], labels: &[String]) -> image::RgbImage {
    let options = GridOptions { reference_rows: 2, ..GridOptions::default() };
    comparison_grid(rows, labels, labels.len(), &options)
}
