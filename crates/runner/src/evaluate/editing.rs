//! Editing: scenes of which something is to be changed, and what has become of the rest.

use super::{References, samples::image_seeds};
use crate::{
    config::EditingConfig,
    data::RunData,
    draw::{Drawing, Drawn, Task},
    log::Reporter,
    prompts::{OBJECTS, Prompts},
    trained::Trained,
};
use anyhow::Result;
use paragone_core::{Batch, Conditions, Known, from_levels};
use paragone_data::{EditKind, Edits};
use paragone_metrics::ClassifierFeatures;
use paragone_report::{EditPoint, EditingScores};
use tch::{Device, Kind, Tensor};

/// Pairs of pictures, the second being the first after an edit.
#[derive(Debug)]
pub struct Pairs {
    /// The kind of edit.
    pub kind: EditKind,
    /// The pictures.
    pub edits: Edits,
    /// What models are told of the pictures before, on the host.
    pub before: Prompts,
    /// What they are told to make of them.
    pub after: Prompts,
}

impl Pairs {
    /// `n` pairs of each kind that the data knows and whose models can be told of it: a class names a shape and whether its colour
    /// is warm, so that only another shape can be asked for by it.
    pub fn all(kinds: &[EditKind], data: &RunData, n: u64) -> Vec<Self> {
        let spec = &data.spec;
        let of_kind = |&kind: &EditKind| {
            let edits = data.edits(kind, n)?;
            let rows = Tensor::arange(edits.sources.len(), (Kind::Int64, Device::Cpu));
            let before = Prompts::of_rows(&edits.sources, &rows, spec);
            let after = Prompts::of_rows(&edits.targets, &rows, spec);
            let by_class = spec.num_classes > 0 && kind == EditKind::Reshape;
            (spec.text.is_some() || by_class).then_some(Self { kind, edits, before, after })
        };
        kinds.iter().filter_map(of_kind).collect()
    }

    /// What models are asked for: the pictures after, where `masked` with all known that may not change.
    pub fn asked(&self, masked: bool) -> Conditions {
        let after = &self.after.conditions;
        if !masked {
            return after.shallow_clone();
        }
        let (images, mask) = (&self.edits.sources.images, self.edits.hole.shallow_clone());
        after.with_known(Some(Known { pixels: from_levels(images), mask }))
    }

    /// The pictures before, as models are given them.
    pub fn source(&self) -> Batch {
        let conditions = self.before.conditions.shallow_clone();
        Batch { images: from_levels(&self.edits.sources.images), conditions }
    }
}

/// What is edited, and judged by.
#[derive(Debug)]
pub struct Editing<'a> {
    pairs: Vec<Pairs>,
    strengths: Vec<f64>,
    judge: &'a ClassifierFeatures,
}

impl<'a> Editing<'a> {
    /// Pairs of scenes; `None` if none are asked for.
    pub fn new(config: &EditingConfig, data: &RunData, references: &'a References) -> Option<Self> {
        let judge = references.judge.as_ref()?.attributes()?;
        let pairs = match config.pairs {
            0 => Vec::new(),
            n => Pairs::all(&config.kinds, data, n),
        };
        let strengths = config.strengths.clone();
        (!pairs.is_empty()).then_some(Self { pairs, strengths, judge })
    }

    /// Scores of a model; `None` when the user asked to stop.
    pub fn score_model(
        &self,
        trained: &Trained,
        batch_size: u64,
        device: Device,
    ) -> Result<Option<EditingScores>> {
        let model = &*trained.model;
        let method = match model.edit() {
            Ok(edit) => edit.method(),
            Err(lacks) => return Ok(Some(EditingScores::new(lacks.to_string()))),
        };
        let mut scores = EditingScores::new(method);
        let (mut seconds, mut images) = (0.0, 0);
        let batch_size = batch_size as usize;
        for pairs in &self.pairs {
            let (n, source) = (pairs.after.len() as u64, pairs.source());
            let seeds = image_seeds(0, 0, n);
            let title = format!("editing, {}", pairs.kind.name());
            let mut reporter =
                Reporter::new(&title, "images", 0, n * (2 * self.strengths.len() as u64 + 1));
            let mut done = 0;
            let mut points = Vec::new();
            let fresh = Drawing::new(&pairs.after.conditions, seeds.clone(), batch_size);
            let Some(drawn) = fresh.draw(model, device, None)? else { return Ok(None) };
            points.push(self.point(pairs, &drawn)?);
            for masked in [false, true] {
                let asked = pairs.asked(masked);
                for &strength in &self.strengths {
                    done += n;
                    reporter.set(done);
                    let drawing = Drawing {
                        task: Task::Edit { source: &source, strength },
                        ..Drawing::new(&asked, seeds.clone(), batch_size)
                    };
                    let Some(drawn) = drawing.draw(model, device, None)? else {
                        reporter.finish();
                        return Ok(None);
                    };
                    seconds += drawn.seconds;
                    images += n;
                    scores.network_calls = scores.network_calls.max(drawn.network_calls);
                    let point = self.point(pairs, &drawn)?;
                    points.push(EditPoint { strength: Some(strength), masked, ..point });
                }
            }
            reporter.finish();
            scores.edits.insert(pairs.kind.name().to_owned(), points);
        }
        scores.seconds_per_image = seconds / images.max(1) as f64;
        Ok(Some(scores))
    }

    /// Scores of the pictures before and of the true ones after.
    pub fn baselines(&self) -> Result<Vec<(&'static str, EditingScores)>> {
        type Row<'a> = (&'static str, &'a str, &'a dyn Fn(&Edits) -> Tensor);
        let rows: [Row<'_>; 2] = [
            ("unchanged", "the pictures as they were", &|edits| {
                edits.sources.images.shallow_clone()
            }),
            ("target", "the true pictures after the edit", &|edits| {
                edits.targets.images.shallow_clone()
            }),
        ];
        rows.into_iter()
            .map(|(name, method, images)| {
                let mut scores = EditingScores::new(method.to_owned());
                for pairs in &self.pairs {
                    let judged = self.judged(pairs, &images(&pairs.edits))?;
                    scores.edits.insert(pairs.kind.name().to_owned(), vec![judged]);
                }
                Ok((name, scores))
            })
            .collect()
    }

    /// Judges what was drawn, and says what it cost.
    fn point(&self, pairs: &Pairs, drawn: &Drawn) -> Result<EditPoint> {
        Ok(EditPoint {
            network_calls: drawn.network_calls,
            seconds_per_image: drawn.seconds / pairs.after.len() as f64,
            ..self.judged(pairs, &drawn.levels)?
        })
    }

    /// Judges edited images, u8 `[n, c, h, w]`.
    fn judged(&self, pairs: &Pairs, levels: &Tensor) -> Result<EditPoint> {
        let Edits { sources, targets, hole } = &pairs.edits;
        let values = |set: &paragone_data::ImageSet| set.labels().expect("scenes have attributes");
        let (before, after) = (values(sources), values(targets));
        let changes = before.not_equal_tensor(&after);
        let right = self.judge.read(levels)?.values.eq_tensor(&after);
        let share = |rows: Tensor| rows.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        let all = |of: &Tensor| right.logical_or(&of.logical_not()).all_dim(1, false);
        let (changed, kept) = (all(&changes), all(&changes.logical_not()));
        let read = &self.judge.card().attributes;
        let objects = read.iter().position(|learnt| learnt.attribute.name == OBJECTS);
        let objects = objects.map(|column| column as i64);
        let asked = |&column: &i64| changes.select(1, column).any().int64_value(&[]) != 0;
        let object_count = objects.filter(asked).map(|column| share(right.select(1, column)));
        let outside = hole.expand_as(levels).to_kind(Kind::Double);
        let error = (levels.to_kind(Kind::Double) - sources.images.to_kind(Kind::Double)).abs();
        let sum = |t: &Tensor| t.sum(Kind::Double).double_value(&[]);
        Ok(EditPoint {
            strength: None,
            masked: false,
            both: share(changed.logical_and(&kept)),
            object_count,
            changed: share(changed),
            kept: share(kept),
            background_error: sum(&(error * &outside)) / sum(&outside),
            network_calls: 0,
            seconds_per_image: 0.0,
        })
    }
}
