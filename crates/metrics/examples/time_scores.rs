//! Computes one score, or all, of the features in a safetensors file, for `scripts/bench-metrics` to time.
//!
//! The file holds f32 matrices `real` and `fake`. Prints a line of JSON: the score, its values and the seconds it took, reading the
//! file not counted.

use paragone_metrics::{
    Moments, ScoreOptions, density_coverage, evaluate_sets, frechet_distance,
    frechet_distance_infinity, kernel_distance,
};
use std::{collections::HashMap, error::Error, io::Write, time::Instant};
use tch::Tensor;

const USAGE: &str = "usage: time_scores FILE.safetensors \
    frechet|frechet_infinity|kernel|neighbours|all";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (path, score) = arguments.next().zip(arguments.next()).ok_or(USAGE)?;
    let tensors: HashMap<String, Tensor> = Tensor::read_safetensors(path)?.into_iter().collect();
    let set = |name: &str| tensors.get(name).ok_or(format!("the file holds no {name}"));
    let (real, fake) = (set("real")?, set("fake")?);
    let start = Instant::now();
    let values = match score.as_str() {
        "frechet" => {
            serde_json::to_value(frechet_distance(&Moments::of(real)?, &Moments::of(fake)?)?)?
        }
        "frechet_infinity" => {
            serde_json::to_value(frechet_distance_infinity(&Moments::of(real)?, fake, 0)?)?
        }
        "kernel" => serde_json::to_value(kernel_distance(real, fake, 100, 1000, 0)?)?,
        // Precision and recall come from the same distances, and cost nothing further.
        "neighbours" => serde_json::to_value(density_coverage(real, fake, 5)?)?,
        "all" => serde_json::to_value(evaluate_sets(real, fake, &ScoreOptions::default())?)?,
        _ => return Err(USAGE.into()),
    };
    let seconds = start.elapsed().as_secs_f64();
    let line = serde_json::json!({ "score": score, "values": values, "seconds": seconds });
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
