//! Prints the scores of feature sets in a safetensors file, for `scripts/check-metrics` to compare with other software.
//!
//! The file holds pairs of matrices, `NAME.real` and `NAME.fake`. Prints one line of JSON a pair: its name, the scores
//! with the kernel distance over the whole sets, and the seconds that each took. Where there are `NAME.real_rows` and
//! `NAME.fake_rows`, i64 `[subsets, size]`, also the kernel distance of each such subset. For class logits `NAME.logits`,
//! the Inception Score in ten parts.

use paragone_metrics::{
    MetricError, Moments, density_coverage, frechet_distance, inception_score, kernel_distance,
    precision_recall,
};
use std::{collections::BTreeMap, io::Write, time::Instant};
use tch::Tensor;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    torch_ext::tune_allocator();
    let path = std::env::args().nth(1).ok_or("usage: print_scores FILE.safetensors")?;
    let tensors: BTreeMap<String, Tensor> = Tensor::read_safetensors(path)?.into_iter().collect();
    let mut stdout = std::io::stdout();
    for (key, real) in &tensors {
        if let Some(name) = key.strip_suffix(".logits") {
            let score = inception_score(real, 10)?;
            writeln!(stdout, "{}", serde_json::json!({ "name": name, "inception_score": score }))?;
        }
        let Some(name) = key.strip_suffix(".real") else { continue };
        let fake = tensors.get(&format!("{name}.fake")).ok_or("a real set without a fake one")?;
        let mut scores = scores(name, real, fake)?;
        let rows = |which| tensors.get(&format!("{name}.{which}_rows"));
        if let (Some(real_rows), Some(fake_rows)) = (rows("real"), rows("fake")) {
            scores["kernel_distance_subsets"] = subsets(real, fake, real_rows, fake_rows)?.into();
        }
        writeln!(stdout, "{scores}")?;
    }
    Ok(())
}

/// The kernel distance of each of the given subsets.
fn subsets(
    real: &Tensor,
    fake: &Tensor,
    real_rows: &Tensor,
    fake_rows: &Tensor,
) -> Result<Vec<f64>, MetricError> {
    let (count, size) = real_rows.size2()?;
    (0..count)
        .map(|i| {
            let take = |set: &Tensor, rows: &Tensor| set.index_select(0, &rows.get(i));
            let (real, fake) = (take(real, real_rows), take(fake, fake_rows));
            Ok(kernel_distance(&real, &fake, 1, size, 0)?.mean)
        })
        .collect()
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
