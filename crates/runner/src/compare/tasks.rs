//! Pictures of tasks: the same holes and the same edits for all models.

use super::{Compared, Model};
use crate::{
    data::RunData,
    draw::{Drawing, Task, hidden},
    evaluate::{Holes, Pairs},
    trained::Trained,
};
use anyhow::{Context, Result};
use paragone_data::Edits;
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
    let labels: Vec<String> = holes.iter().flat_map(|holes| labels(holes.kind.name())).collect();
    Ok(Some(Some(Figure {
        section: Section::Inpainting,
        title: "The same holes".to_owned(),
        caption: "Test images above, the same with parts hidden, and what each model makes of these; the seed of a column is the same in all rows, \
                  nothing is chosen."
            .to_owned(),
        command: command.to_owned(),
        picture: grid(&rows, 2, &labels),
        file: Some("inpainting.png"),
    })))
}

/// Pictures before and after edits, and what each model makes of the first; as [`inpainting`].
pub fn editing(
    runs: &[Compared],
    data: &RunData,
    device: Device,
    command: &str,
) -> Result<Option<Option<Figure>>> {
    edits(runs, data, device, command, false)
}

/// The same, where only what lies in a mask may change.
pub fn masked_editing(
    runs: &[Compared],
    data: &RunData,
    device: Device,
    command: &str,
) -> Result<Option<Option<Figure>>> {
    edits(runs, data, device, command, true)
}

fn edits(
    runs: &[Compared],
    data: &RunData,
    device: Device,
    command: &str,
    masked: bool,
) -> Result<Option<Option<Figure>>> {
    let mut configs = runs.iter().map(|run| &run.experiment.eval.editing);
    let Some(config) = configs.find(|config| config.pairs > 0) else { return Ok(None) };
    let scored = |kind: &str| {
        let models = runs.iter().flat_map(|run| &run.models);
        let edits = models.filter_map(|model| model.scores.editing.as_ref());
        edits.into_iter().any(|scores| scores.edits.contains_key(kind))
    };
    let mut pairs = Pairs::all(&config.kinds, data, EACH);
    pairs.retain(|pairs| scored(pairs.kind.name()));
    if pairs.is_empty() {
        return Ok(None);
    }
    let cat = |of: &dyn Fn(&Edits) -> Tensor| {
        Tensor::cat(&pairs.iter().map(|it| of(&it.edits)).collect::<Vec<_>>(), 0)
    };
    let before = cat(&|edits| edits.sources.images.shallow_clone());
    let mut rows = vec![Row { label: "before".to_owned(), images: before }];
    if masked {
        let images = cat(&|edits| hidden(&edits.sources.images, &edits.hole));
        rows.push(Row { label: "may change".to_owned(), images });
    }
    let after = cat(&|edits| edits.targets.images.shallow_clone());
    rows.push(Row { label: "after".to_owned(), images: after });
    let references = rows.len();
    let models = every_model(runs, device, |model, trained| {
        let Some(scores) = &model.scores.editing else { return Ok(Filled::Lacking) };
        if trained.model.edit().is_err() {
            return Ok(Filled::Lacking);
        }
        let mut images = Vec::new();
        for pairs in &pairs {
            let best = scores.best(pairs.kind.name(), masked);
            // A run that took no scores of a kind that another did has no row.
            let Some(strength) = best.and_then(|it| it.strength) else {
                return Ok(Filled::Lacking);
            };
            let (source, asked) = (pairs.source(), pairs.asked(masked));
            let drawing = Drawing {
                task: Task::Edit { source: &source, strength },
                ..Drawing::new(&asked, (0..EACH).collect(), EACH as usize)
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
    let told = |Pairs { kind, edits, .. }: &Pairs| match &edits.targets.captions {
        Some(captions) if data.spec.text.is_some() => {
            captions.iter().map(|caption| format!("{}: {caption}", kind.name())).collect()
        }
        _ => labels(kind.name()),
    };
    let labels: Vec<String> = pairs.iter().flat_map(told).collect();
    let (file, title, told_what) = match masked {
        false => ("editing.png", "The same edits", "told what the second shows"),
        true => (
            "editing-masked.png",
            "The same edits within a mask",
            "told what the second shows; what is not gray may not change",
        ),
    };
    Ok(Some(Some(Figure {
        section: Section::Editing,
        title: title.to_owned(),
        caption: format!(
            "Pictures before and after an edit above, and what each model makes of the first, {told_what}; each at the strength at which \
             most of its edits of that kind are right. The seed of a column is the same in all rows."
        ),
        command: command.to_owned(),
        picture: grid(&rows, references, &labels),
        file: Some(file),
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

/// Labels of the columns of one kind: its name above the first.
fn labels(kind: &str) -> Vec<String> {
    let mut labels = vec![String::new(); EACH as usize];
    kind.clone_into(&mut labels[0]);
    labels
}

/// Rows to compare with above the models, and a label above each column.
fn grid(rows: &[Row], reference_rows: usize, labels: &[String]) -> image::RgbImage {
    let options = GridOptions { reference_rows, ..GridOptions::default() };
    comparison_grid(rows, labels, labels.len(), &options)
}
