//! Finished runs side by side: one table, one page, one picture, one file of scores.

mod learning;
mod pictures;
mod protocols;
mod rows;
mod tasks;

use crate::{
    config::{Experiment, ModelConfig},
    data::RunData,
    evaluate::{Calibration, ModelScores},
    files::{RunDir, create_dir, read_json, read_json_if_there, write_atomically, write_json},
    log::note,
    manifest::Manifest,
    train::Summary,
    trained::read_experiment,
};
use anyhow::{Context, Result};
use paragone_report::{Baseline, Page, Results, html, save_png};
use protocols::Protocols;
use std::{collections::BTreeSet, path::Path};
use tch::Device;

/// A finished run, read back.
#[derive(Debug)]
pub struct Compared {
    /// Where it is.
    pub run: RunDir,
    /// What was run.
    pub experiment: Experiment,
    manifest: Manifest,
    calibration: Calibration,
    models: Vec<Model>,
}

/// One of its models.
#[derive(Debug)]
struct Model {
    name: String,
    summary: Summary,
    scores: ModelScores,
}

impl Compared {
    /// Reads a run whose models are trained and scored; those that are not are named and left out.
    pub fn read(run: &RunDir) -> Result<Self> {
        let experiment = read_experiment(run, &[])?;
        let path = run.path().display();
        let mut models = Vec::new();
        for model in &experiment.models {
            let (dir, name) = (run.model(&model.name), model.name.clone());
            let summary = read_json_if_there::<Summary>(&dir.summary())?;
            let scores = read_json_if_there::<ModelScores>(&dir.scores()).with_context(|| {
                format!(
                    "{name} was scored by another version; `paragone eval {path}` scores it anew"
                )
            })?;
            let at = dir.path().display();
            match (summary, scores) {
                (None, _) => note(&format!("{at} is not trained to its end")),
                (_, None) => note(&format!("{at} is not scored")),
                (_, Some(scores)) if !scores.settings.are_of(&experiment, model)? => {
                    note(&format!(
                        "{at} was scored under other settings than the run's; `paragone eval {path}` scores it anew"
                    ))
                }
                (Some(summary), Some(scores)) => models.push(Model { name, summary, scores }),
            }
        }
        let calibration = read_json(&run.calibration()).with_context(|| {
            format!("{path} is not scored yet; `paragone run` or `eval` scores it")
        })?;
        let manifest = read_json(&run.manifest())?;
        Ok(Self { manifest, calibration, models, experiment, run: run.clone() })
    }

    /// The section of one of its models.
    fn config(&self, model: &Model) -> &ModelConfig {
        self.experiment.model(&model.name).expect("a model of the run")
    }

    /// What the trainings of one model under several seeds have in common.
    fn identity(&self, model: &Model) -> (String, String) {
        let made_of = self.experiment.made_of(self.config(model));
        (self.experiment.name.clone(), made_of.to_string())
    }

    /// What pictures of `runs` call one of its models.
    fn label(&self, model: &Model, runs: &[Self]) -> String {
        match runs.len() {
            1 => model.name.clone(),
            _ => format!("{} {}", self.run.path().display(), model.name),
        }
    }
}

/// Parts runs into groups that compare with one another, each as large as it can be, in the order given.
///
/// Returns the groups, and of each but the first why it does not compare with the first.
pub fn apart(runs: Vec<Compared>) -> (Vec<Vec<Compared>>, Vec<String>) {
    let mut groups: Vec<Vec<Compared>> = Vec::new();
    let mut reasons = Vec::new();
    for run in runs {
        let fits = |group: &Vec<Compared>| {
            group.iter().try_for_each(|other| protocols::check(other, &run))
        };
        match groups.iter().position(|group| fits(group).is_ok()) {
            Some(group) => groups[group].push(run),
            None => {
                reasons.extend(
                    groups.first().and_then(|first| fits(first).err()).map(|e| e.to_string()),
                );
                groups.push(vec![run]);
            }
        }
    }
    (groups, reasons)
}

/// Writes `results.json`, `results.csv`, `tasks.csv`, the pictures that show all models and `report.html` into `out`, and returns the tables for a terminal;
/// `None` when the user asked to stop.
///
/// # Errors
/// Names two runs that do not compare, and the first field in which their data or protocols differ.
pub fn write(
    runs: &[Compared],
    data: &RunData,
    out: &Path,
    device: Device,
) -> Result<Option<String>> {
    for (i, run) in runs.iter().enumerate() {
        runs[..i].iter().try_for_each(|other| protocols::check(other, run))?;
    }
    let protocols = Protocols::of(runs.first().context("nothing to compare")?)?;
    create_dir(out)?;
    let results = Results {
        protocol: serde_json::to_value(&protocols)?,
        rows: rows::models(runs),
        calibration: rows::calibration(&runs[0]),
        baselines: baselines(runs),
    };
    write_json(&out.join("results.json"), &results)?;
    write_atomically(&out.join("results.csv"), results.to_csv().as_bytes())?;
    write_atomically(&out.join("tasks.csv"), results.to_task_csv().as_bytes())?;
    let command = command(runs, out);
    let Some(figures) = pictures::draw(runs, data, device, &command)? else { return Ok(None) };
    for figure in &figures {
        if let Some(file) = figure.file {
            save_png(&figure.picture, &out.join(file))?;
        }
    }
    let headline = results.headline_split().and_then(|split| protocols.splits.get(&split));
    let fights: BTreeSet<String> = runs.iter().map(fought).collect();
    let notes: Vec<String> =
        headline.map(protocols::circumstances).into_iter().chain(fights).collect();
    let page = Page {
        title: runs
            .iter()
            .map(|run| &*run.experiment.name)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(", "),
        command,
        results: &results,
        notes: notes.iter().cloned().chain([machine(&runs[0])]).collect(),
        learning: learning::curves(runs)?,
        figures,
    };
    write_atomically(&out.join("report.html"), html(&page)?.as_bytes())?;
    let tasks = results.to_task_table().map(|table| format!("\n{}", table.to_text()));
    let tasks = tasks.unwrap_or_default();
    Ok(Some(format!("{}{tasks}{}", results.to_table().to_text(), notes.join("\n"))))
}

/// Those of each task from the first run that took its scores: equal in all that did.
fn baselines(runs: &[Compared]) -> Vec<Baseline> {
    let tasks: [fn(&Baseline) -> bool; 2] =
        [|it| it.inpainting.is_some(), |it| it.editing.is_some()];
    let of_task = |task: fn(&Baseline) -> bool| {
        let mut runs = runs.iter().map(|run| {
            run.calibration.baselines.iter().filter(|it| task(it)).cloned().collect::<Vec<_>>()
        });
        runs.find(|baselines| !baselines.is_empty()).unwrap_or_default()
    };
    tasks.into_iter().flat_map(of_task).collect()
}

/// The command that makes a comparison again.
fn command(runs: &[Compared], out: &Path) -> String {
    let paths: Vec<String> = runs.iter().map(|run| run.run.path().display().to_string()).collect();
    format!("paragone compare {} --out {}", paths.join(" "), out.display())
}

/// Where and with what a run was made.
fn machine(run: &Compared) -> String {
    let Manifest { processor, cores, libtorch, paragone, .. } = &run.manifest;
    let processor = processor.as_deref().unwrap_or("of an unknown processor");
    format!("made by Paragone {paragone} with libtorch {libtorch} on {cores} cores, {processor}")
}

/// Which fight was fought, on one line.
fn fought(run: &Compared) -> String {
    format!("{}: {} of training each", run.experiment.name, run.experiment.train.budget)
}
