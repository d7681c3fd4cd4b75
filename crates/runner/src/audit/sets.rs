//! The sets of images that scores are audited with.

use crate::{
    evaluate::LikelihoodScore,
    files::{RunDir, read_json, read_json_if_there},
    manifest::Manifest,
    trained::read_experiment,
};
use anyhow::{Context, Result, ensure};
use paragone_core::mix;
use paragone_data::{
    DataConfig, Dataset, ImageSet, Scenes, Split, hex,
    shapes::{Corruption, Scene, Shapes, Source, Truth},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};
use tch::Tensor;

/// The data whose distribution is known, as models are trained on it.
#[derive(Debug)]
pub struct World {
    /// The data.
    pub data: Shapes,
    /// Side of its images.
    pub side: u32,
    /// Its scenes.
    pub scenes: Scenes,
    /// The training images.
    pub train: ImageSet,
    /// Their scenes.
    pub train_scenes: Vec<Scene>,
    /// Its distribution.
    pub truth: Truth,
}

impl World {
    /// The world of a configuration of `shapes`.
    ///
    /// # Errors
    /// A configuration that is not valid.
    pub fn open(config: &DataConfig) -> Result<Self> {
        config.validate()?;
        ensure!(
            config.pixel_noise == 0.0,
            "data.pixel_noise is {}, but the sets of an audit are drawn without noise",
            config.pixel_noise
        );
        let data = Shapes::new(config)?;
        let train_scenes = data.scenes(Split::Train)?;
        let train = data.load(Split::Train)?;
        let side = data.shape().height as u32;
        let truth = Truth::new(side, config.scenes, &train_scenes);
        Ok(Self { data, side, scenes: config.scenes, train, train_scenes, truth })
    }
}

/// A set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Set {
    /// Drawn from the known distribution and then made worse.
    Corrupted {
        /// The family of corruptions.
        family: String,
        /// 0 is the truth itself, 1 the mildest.
        grade: usize,
        /// What the grade means in this family.
        strength: f64,
        /// Sets of one seed are compared.
        seed: u64,
    },
    /// The scored samples of a trained model.
    Model {
        /// See [`AuditedModel::name`].
        name: String,
        /// SHA-256 of the file beside the samples, which says what they were drawn from.
        source: String,
        /// The evaluation seed.
        seed: u64,
    },
}

/// A trained model whose samples are on disk.
#[derive(Debug)]
pub struct AuditedModel {
    /// Its run and its name, such as `quickstart/vae`.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its samples.
    pub samples: Vec<AuditedSamples>,
    /// Likelihood by every method the model offers, the headline first, or why there is none.
    pub likelihood: Result<Vec<LikelihoodScore>, String>,
}

/// Samples of one evaluation seed.
#[derive(Debug)]
pub struct AuditedSamples {
    /// The seed.
    pub seed: u64,
    /// SHA-256 of what stands beside them: the weights, sampler and data that they were drawn from.
    pub source: String,
    /// Their file.
    pub path: PathBuf,
}

impl AuditedModel {
    /// Its samples as sets, with their files.
    pub fn sets(&self) -> impl Iterator<Item = (Set, &Path)> {
        self.samples.iter().map(|AuditedSamples { seed, source, path }| {
            let (name, source) = (self.name.clone(), source.clone());
            (Set::Model { name, source, seed: *seed }, path.as_path())
        })
    }
}

/// What an audit needs of a model's scores, whichever version of this program made them.
#[derive(Debug, Deserialize)]
struct Scored {
    likelihood: Result<Vec<LikelihoodScore>, String>,
}

/// The models of a run that were scored, and the data they were trained on.
///
/// # Errors
/// A folder that is no run, or a run on other data than `shapes`.
pub fn models_of(run: &RunDir) -> Result<(DataConfig, String, Vec<AuditedModel>)> {
    let experiment = read_experiment(run, &[])?;
    let place = run.path().display();
    ensure!(
        experiment.data.dataset == "shapes",
        "{place} was trained on {}: only the distribution of shapes is known",
        experiment.data.dataset
    );
    let manifest: Manifest = read_json(&run.manifest())?;
    let folder = run.path().file_name().map_or_else(String::new, |n| n.to_string_lossy().into());
    let mut models = Vec::new();
    for config in &experiment.models {
        let dir = run.model(&config.name);
        let Some(scores) = read_json_if_there::<Scored>(&dir.scores())? else { continue };
        let files = experiment.eval.seeds.iter().map(|&seed| (seed, dir.scored_images(seed)));
        let samples = files.filter(|(_, path)| path.is_file()).map(|(seed, path)| {
            let beside = path.with_extension("json");
            let source =
                fs::read(&beside).with_context(|| format!("cannot read {}", beside.display()))?;
            Ok(AuditedSamples { seed, source: hex(&Sha256::digest(source)), path })
        });
        models.push(AuditedModel {
            name: format!("{folder}/{}", config.name),
            folder: dir.path().to_owned(),
            samples: samples.collect::<Result<_>>()?,
            likelihood: scores.likelihood,
        });
    }
    models.retain(|model| !model.samples.is_empty());
    ensure!(!models.is_empty(), "{place} has no scored model: `paragone eval {place}` scores them");
    Ok((experiment.data.clone(), manifest.data_hash, models))
}

/// All sets: the corruptions, seed by seed, and then the models.
pub fn sets(seeds: u64, models: &[AuditedModel]) -> Vec<Set> {
    let corrupted = (0..seeds).flat_map(|seed| {
        Corruption::ALL.into_iter().flat_map(move |family| {
            let strengths = [0.0].into_iter().chain(family.strengths());
            strengths.enumerate().map(move |(grade, strength)| Set::Corrupted {
                family: family.name().to_owned(),
                grade,
                strength,
                seed,
            })
        })
    });
    let drawn = models.iter().flat_map(AuditedModel::sets).map(|(set, _)| set);
    corrupted.chain(drawn).collect()
}

impl Set {
    /// How many images there are at most.
    pub fn images_there(&self, models: &[AuditedModel]) -> Result<u64> {
        match self {
            Self::Corrupted { .. } => Ok(u64::MAX),
            Self::Model { .. } => Ok(self.read(models)?.size()[0] as u64),
        }
    }

    /// The first `n` images: u8 `[n, 3, side, side]`.
    pub fn images(&self, world: &World, models: &[AuditedModel], n: u64) -> Result<Tensor> {
        let Self::Corrupted { family, grade, strength, seed } = self else {
            return Ok(self.read(models)?.narrow(0, 0, n as i64));
        };
        let index = Corruption::ALL.iter().position(|corruption| corruption.name() == family);
        let index =
            index.with_context(|| format!("no family of corruptions is called {family}"))?;
        // Every set has scenes of its own, as every model's samples have: no two differ by their grade alone.
        let seed = mix(&[*seed, index as u64, *grade as u64]);
        let source = Source { side: world.side, scenes: world.scenes, train: &world.train_scenes };
        let images = Corruption::ALL[index].images(&source, *strength, seed, n as usize);
        Ok(Tensor::from_slice(&images).view([n as i64, 3, world.side.into(), world.side.into()]))
    }

    fn read(&self, models: &[AuditedModel]) -> Result<Tensor> {
        let mut drawn = models.iter().flat_map(AuditedModel::sets);
        let (_, path) = drawn.find(|(set, _)| set == self).context("a model's own set")?;
        let damaged = || format!("{} is damaged: `paragone eval` draws it again", path.display());
        let tensors = Tensor::read_safetensors(path).with_context(damaged)?;
        let images = tensors.into_iter().find(|(name, _)| name == "images");
        Ok(images.with_context(damaged)?.1)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupted { family, strength, seed, .. } => {
                write!(f, "{family} {strength}, seed {seed}")
            }
            Self::Model { name, seed, .. } => write!(f, "{name}, seed {seed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// Two models of one name and one that was sampled again: each has its own samples.
    #[test]
    fn samples_are_told_apart_by_what_they_were_drawn_from() {
        let folder = std::env::temp_dir().join(format!("paragone-sets-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let model = |source: &str, images: i64| {
            let path = folder.join(format!("{source}.safetensors"));
            let levels = Tensor::zeros([images, 3, 2, 2], (Kind::Uint8, Device::Cpu));
            Tensor::write_safetensors(&[("images", levels)], &path).unwrap();
            let source = source.to_owned();
            AuditedModel {
                name: "seed=0/gan".to_owned(),
                folder: folder.clone(),
                samples: vec![AuditedSamples { seed: 0, source, path }],
                likelihood: Err("defines no likelihood".to_owned()),
            }
        };
        let models = [model("a", 3), model("b", 5)];
        let sets = sets(0, &models);
        assert_ne!(sets[0], sets[1]);
        let images = |set: &Set| set.images_there(&models).unwrap();
        assert_eq!((images(&sets[0]), images(&sets[1])), (3, 5));
        fs::remove_dir_all(folder).unwrap();
    }
}
