//! Features of real images, computed once for all runs of a user: files named by the hashes of network and images.

use crate::{
    data::watched,
    files::{aside, create_dir},
    interrupt,
    log::note,
    train::write_tensors,
};
use anyhow::{Context, Result};
use paragone_data::ImageSet;
use paragone_metrics::{FeatureExtractor, MetricError};
use std::{
    env, fs,
    path::{Path, PathBuf},
};
use tch::Tensor;

/// Counts up when this program computes other features with the same networks.
const VERSION: u32 = 1;

/// Features of `set`, f32 `[n, d]`: from the cache, or computed and put there. `None` when the user asked to stop.
pub fn features(
    extractor: &dyn FeatureExtractor,
    set: &ImageSet,
    name: &str,
) -> Result<Option<Tensor>> {
    let file = file(extractor.hash(), &set.hash);
    if let Some(features) = file.as_deref().and_then(|file| read(file, set, extractor)) {
        return Ok(Some(features));
    }
    let Some(features) = compute(extractor, &set.images, name)? else { return Ok(None) };
    if let Some(file) = &file
        && let Err(error) = write(file, &features)
    {
        note(&format!("features are not kept for the next time: {error:#}"));
    }
    Ok((!interrupt::asked()).then_some(features))
}

/// Features of any images, u8 `[n, c, h, w]`, which are not kept: f32 `[n, d]`. `None` when the user asked to stop.
pub fn compute(
    extractor: &dyn FeatureExtractor,
    images: &Tensor,
    name: &str,
) -> Result<Option<Tensor>> {
    let title = format!("{} features of {name}", extractor.name());
    let features =
        watched(&title, "images", |watch| extractor.features_with_progress(images, watch));
    match features {
        Ok(features) => Ok(Some(features)),
        Err(MetricError::Stopped) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Where they are kept: below `PARAGONE_CACHE`, or `paragone` in the user's cache folder; nowhere if there is none, and for
/// this crate's own tests.
fn file(features_hash: &str, images_hash: &str) -> Option<PathBuf> {
    if cfg!(test) {
        return None;
    }
    let folder = |name: &str| env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let user = || folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    let cache = folder("PARAGONE_CACHE").or_else(|| Some(user()?.join("paragone")))?;
    let name = format!("{features_hash}-{images_hash}-v{VERSION}.safetensors");
    Some(cache.join("features").join(name))
}

/// Name of the tensor.
const FEATURES: &str = "features";

/// What is there, unless it does not parse or is of another size.
fn read(file: &Path, set: &ImageSet, extractor: &dyn FeatureExtractor) -> Option<Tensor> {
    let tensors = file.is_file().then(|| Tensor::read_safetensors(file))?.ok()?;
    let (_, features) = tensors.into_iter().find(|(name, _)| name == FEATURES)?;
    (features.size() == [set.len(), extractor.dim()]).then_some(features)
}

fn write(file: &Path, features: &Tensor) -> Result<()> {
    create_dir(file.parent().context("the cache has no folder")?)?;
    let aside = aside(file);
    let written = write_tensors(&[(FEATURES.to_owned(), features.shallow_clone())], &aside)
        .and_then(|()| {
            fs::rename(&aside, file).with_context(|| format!("cannot write {}", file.display()))
        });
    if written.is_err() {
        // On a full disk, what was written of it would be in the way of all else.
        let _ = fs::remove_file(&aside);
    }
    written
}
