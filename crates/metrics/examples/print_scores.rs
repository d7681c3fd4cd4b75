//! Prints the scores of feature sets in a safetensors file, for `scripts/check-metrics` to compare with other software.
//!
//! The file holds pairs of matrices, `NAME.real` and `NAME.fake`. Prints one line of JSON a pair: its name, the scores
//! with the kernel distance over the whole sets, and the seconds that each took.

use paragone_metrics::{
    MetricError, Moments, density_coverage, frechet_distance, kernel_distance, precision_recall,
};
use std::{collections::BTreeMap, io::Write, time::Instant};
use tch::Tensor;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    torch_ext::tune_allocator();
    let path = std::env::args().nth(1).ok_or("usage: print_scores FILE.safetensors")?;
    let tensors: BTreeMap<String, Tensor> = Tensor::read_safetensors(path)?.into_iter().collect();
    let mut stdout = std::io::stdout();
    for (key, real) in &tensors {
        let Some(name) = key.strip_suffix(".real") else { continue };
        let fake = tensors.get(&format!("{name}.fake")).ok_or("a real set without a fake one")?;
        writeln!(stdout, "{}", scores(name, real, fake)?)?;
    }
    Ok(())
}

fn scores(name: &str, real: &Tensor, fake: &Tensor) -> Result<serde_json::Value, MetricError> {
    let smaller = real.size()[0].min(fake.size()[0]);
    let start = Instant::now();
    let frechet = frechet_distance(&Moments::of(real)?, &Moments::of(fake)?)?;
    let frechet_seconds = start.elapsed().as_secs_f64();
    // Other software draws its subsets from other generators, so only whole sets compare exactly.
    let whole = if real.size()[0] == fake.size()[0] {
        Some(kernel_distance(real, fake, 1, smaller, 0)?.mean)
    } else {
        None
    };
    let start = Instant::now();
    let kernel = kernel_distance(real, fake, 100, 1000.min(smaller), 0)?;
    let kernel_seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let pr = precision_recall(real, fake, 3)?;
    let neighbour_seconds = start.elapsed().as_secs_f64();
    let dc = density_coverage(real, fake, 5)?;
    Ok(serde_json::json!({
        "name": name,
        "frechet_distance": frechet,
        "kernel_distance_whole": whole,
        "kernel_distance_mean": kernel.mean,
        "kernel_distance_std": kernel.std,
        "precision": pr.precision,
        "recall": pr.recall,
        "density": dc.density,
        "coverage": dc.coverage,
        "seconds": { "frechet": frechet_seconds, "kernel": kernel_seconds, "neighbours": neighbour_seconds },
    }))
}
