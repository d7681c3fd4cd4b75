//! What the command line asks of a model, and the model that it names.

use super::prepare;
use crate::{
    cli::{AskArgs, ConditionArgs, ModelArgs},
    config::Experiment,
    data::{RunData, class_id},
    files::{RunDir, read_json},
    log::note,
    manifest::Manifest,
    trained::{Trained, find_model, read_experiment},
};
use anyhow::{Context, Result, bail, ensure};
use paragone_core::Conditions;
use paragone_data::Tokenizer;
use paragone_report::Row;
use std::{cell::OnceCell, fs, path::Path};
use tch::{Device, Tensor};

/// Images computed at once, at most.
pub const MOST_AT_ONCE: usize = 100;

/// Most images of a line, and most prompts that get a column each.
pub const COLUMNS: usize = 8;

/// A model opened by its directory.
#[derive(Debug)]
pub struct Opened {
    pub trained: Trained,
    experiment: Experiment,
    pub class_names: Vec<String>,
    pub run: RunDir,
    pub name: String,
    pub device: Device,
    data: OnceCell<RunData>,
}

impl Opened {
    /// Opens `runs/a/diffusion` with overrides of the model's own keys.
    pub fn open(args: &ModelArgs) -> Result<Self> {
        let path = &args.model;
        let (run, name) = RunDir::of_model(path).with_context(|| {
            format!(
                "{} is no model of a run: give RUN/MODEL, such as runs/quickstart/vae",
                path.display()
            )
        })?;
        let overrides: Vec<String> =
            args.set.iter().map(|set| format!("models.{name}.{set}")).collect();
        let experiment = read_experiment(&run, &overrides)?;
        if let Some(change) = experiment.difference(&read_experiment(&run, &[])?).trained {
            bail!("--set {}: it decides training, and {} is trained", change.key, path.display());
        }
        let config = find_model(&experiment, &name)?;
        let device = prepare(&args.device, None)?;
        let trained = Trained::load(config, &run.model(&name), device)?;
        let manifest: Manifest = read_json(&run.manifest())?;
        let (class_names, data) = (manifest.class_names, OnceCell::new());
        Ok(Self { trained, class_names, run, name, device, experiment, data })
    }

    /// The data that it was trained on, read when it is first asked for.
    pub fn data(&self, datasets: &Path) -> Result<&RunData> {
        match self.data.get() {
            Some(data) => Ok(data),
            None => {
                let data = RunData::open(&self.experiment, datasets)?;
                Ok(self.data.get_or_init(|| data))
            }
        }
    }

    /// What `n` images are asked to be by `prompts`, or else by the classes asked for, each in turn; `None` if neither was
    /// given.
    ///
    /// # Errors
    /// More prompts or classes than images.
    pub fn asked(
        &self,
        args: &ConditionArgs,
        prompts: &[String],
        n: usize,
    ) -> Result<Option<Conditions>> {
        let data = &self.trained.spec;
        for (what, number) in [("prompts", prompts.len()), ("classes", args.class.len())] {
            ensure!(
                number <= n,
                "--n is {n}, but there are {number} {what}: give at least as many images"
            );
        }
        if !prompts.is_empty() {
            return self.prompted(prompts, n).map(Some);
        }
        if args.class.is_empty() {
            return Ok(None);
        }
        ensure!(data.num_classes > 0, "--class: {} was trained without classes", self.name);
        let id = |class: &String| class_id(class, &self.class_names);
        let asked: Vec<i64> = args.class.iter().map(id).collect::<Result<_>>()?;
        let classes: Vec<i64> = asked.iter().copied().cycle().take(n).collect();
        Ok(Some(Conditions::of_classes(&classes, data, Device::Cpu)))
    }

    /// What `--negative-prompt` has guidance push `n` images away from.
    pub fn unwanted(&self, args: &AskArgs, n: usize) -> Result<Option<Conditions>> {
        let prompt = args.negative_prompt.as_ref();
        prompt.map(|prompt| self.prompted(std::slice::from_ref(prompt), n)).transpose()
    }

    /// Prompts in turn for `n` images. Says what the model will not understand of them.
    pub fn prompted(&self, prompts: &[String], n: usize) -> Result<Conditions> {
        let (data, path) = (&self.trained.spec, self.run.model(&self.name).tokenizer());
        let Some(text) = &data.text else {
            bail!("{} was trained without captions: it knows no prompts", self.name)
        };
        let tokenizer = Tokenizer::read(&path)?;
        let mut tokens = Vec::new();
        for prompt in prompts {
            let words = tokenizer.encode(prompt);
            if !words.unknown.is_empty() {
                let unknown = words.unknown.join(", ");
                note(&format!(
                    "\"{prompt}\": not in the vocabulary of the training captions: {unknown}"
                ));
            }
            if !words.cut.is_empty() {
                note(&format!(
                    "\"{prompt}\": longer than the {} words that the model reads; not read: {}",
                    text.max_tokens,
                    words.cut.join(" ")
                ));
            }
            tokens.push(Tensor::from_slice(&words.tokens));
        }
        let turn: Vec<i64> = (0..n).map(|i| (i % prompts.len()) as i64).collect();
        let tokens = Tensor::stack(&tokens, 0).index_select(0, &Tensor::from_slice(&turn));
        Ok(Conditions { tokens, ..Conditions::none(n as i64, data, Device::Cpu) })
    }
}

/// `n` seeds from `first` on.
pub fn seeds(first: u64, n: usize) -> Result<Vec<u64>> {
    let end = first.checked_add(n as u64);
    let end =
        end.with_context(|| format!("--seed {first}: too large to count {n} seeds up from"))?;
    Ok((first..end).collect())
}

/// What stands beside image `i`: its seed, and its prompt where there are several.
pub fn seed_label(seed: u64, i: usize, prompts: &[String]) -> String {
    match prompts {
        [] | [_] => format!("seed {seed}"),
        several => format!("seed {seed}: {}", several[i % several.len()]),
    }
}

/// Images, u8 `[n, c, h, w]`, that prompts were asked for in turn: a row a prompt, or one of all.
pub fn rows_by_prompt(images: &Tensor, prompts: &[String]) -> Vec<Row> {
    let number = prompts.len().max(1);
    let row = |i: usize| Row {
        label: prompts.get(i).cloned().unwrap_or_default(),
        images: images.slice(0, i as i64, None, number as i64),
    };
    (0..number).map(row).collect()
}

impl AskArgs {
    /// Refuses what would do nothing.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.negative_prompt.is_none() || self.guidance_scale > 1.0,
            "--negative-prompt pushes nothing away at --guidance-scale {}: give one above 1, such as 3",
            self.guidance_scale
        );
        Ok(())
    }
}

impl ConditionArgs {
    /// The prompts of the command line, then those of the file.
    pub fn written_prompts(&self) -> Result<Vec<String>> {
        let mut prompts = self.prompt.clone();
        if let Some(path) = &self.prompts {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text); // written by Windows' editors
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let before = prompts.len();
            prompts.extend(lines.map(str::to_owned));
            ensure!(prompts.len() > before, "{} has no prompt: write one a line", path.display());
        }
        Ok(prompts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn images_of_prompts_asked_in_turn_stand_by_prompt() {
        let images = Tensor::arange(5, (Kind::Uint8, Device::Cpu)).reshape([5, 1, 1, 1]);
        let rows = |prompts: &[&str]| -> Vec<(String, Vec<i64>)> {
            let prompts: Vec<String> = prompts.iter().map(|&it| it.to_owned()).collect();
            let numbers = |row: Row| {
                let images = row.images.flatten(0, -1).to_kind(Kind::Int64);
                (row.label, Vec::try_from(images).unwrap())
            };
            rows_by_prompt(&images, &prompts).into_iter().map(numbers).collect()
        };
        let row = |label: &str, images: &[i64]| (label.to_owned(), images.to_vec());
        assert_eq!(rows(&[]), [row("", &[0, 1, 2, 3, 4])]);
        assert_eq!(rows(&["a", "b"]), [row("a", &[0, 2, 4]), row("b", &[1, 3])]);
    }
}
