//! Opens a folder of images as training does, takes batches of it, and says what that took, for `scripts/scaling`.
//!
//!     load_images FOLDER SIZE DATASETS BATCHES
//!
//! Prints a line of JSON: images, seconds to open the folder (which decodes it into DATASETS if that has not been done) and
//! to load its train split, seconds of a batch of 128, and the most bytes of memory, of which those in use by the process itself
//! and not only mapped from the file.

use paragone_data::{
    Condition, DataConfig, Dataset, Loader, LoaderOptions, Order, Split, data_spec, open, unwatched,
};
use std::{error::Error, io::Write, path::Path, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, size, datasets, batches] = &arguments[..] else {
        return Err("usage: load_images FOLDER SIZE DATASETS BATCHES".into());
    };
    let config = DataConfig {
        dataset: "image-folder".to_owned(),
        condition: Condition::None,
        size: Some(size.parse()?),
        path: Some(folder.into()),
        ..DataConfig::default()
    };
    let start = Instant::now();
    let dataset: Box<dyn Dataset> = open(&config, Path::new(datasets), &mut unwatched)?;
    let opened = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let train = dataset.load(Split::Train)?;
    let spec = data_spec(&train, &*dataset, &config, None);
    let loaded = start.elapsed().as_secs_f64();
    let order = Order::new(0, train.len() as u64);
    let mut loader = Loader::new(&train, order, LoaderOptions::default(), spec);
    let batches: u32 = batches.parse()?;
    let start = Instant::now();
    for _ in 0..batches {
        loader.next();
    }
    let line = serde_json::json!({
        "images": train.len(),
        "open_seconds": opened,
        "load_seconds": loaded,
        "batch_seconds": start.elapsed().as_secs_f64() / f64::from(batches),
        "peak_bytes": torch_ext::peak_memory_bytes(tch::Device::Cpu),
        "own_bytes": own_bytes()?,
    });
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// Memory in use now that no file stands behind.
fn own_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: u64 = line.ok_or("no RssAnon")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
