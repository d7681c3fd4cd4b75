//! Prints the scores of feature sets in a safetensors file, for `scripts/check-metrics` to compare with other software.
//!
//! The file holds pairs of matrices, `NAME.real` and `NAME.fake`. Prints one line of JSON a pair: its name, the scores
//! with the kernel distance over the whole sets, and the seconds that each took. Classes are the rows' numbers modulo 3.
//! Where there are `NAME.real_rows` and `NAME.fake_rows`, i64 `[subsets, size]`, also the kernel distance in those subsets,
//! and of each of them. Of images `NAME.a` and `NAME.b`, u8 `[n, c, h, w]`, how alike each pair is. For class logits `NAME.logits`, the Inception Score in ten parts.

use paragone_metrics::{
    ClassReference, MemorizationReference, MetricError, Moments, Space, density_coverage,
    draw_rows, frechet_distance, frechet_distance_infinity, inception_score, kernel_distance,
    kernel_distance_in, precision_recall, psnr, ssim,
};
use std::{collections::BTreeMap, io::Write, time::Instant};
use tch::{Device, Kind, Tensor};

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
        if let Some(name) = key.strip_suffix(".a") {
            let other = tensors.get(&format!("{name}.b")).ok_or("images without their pair")?;
            let [psnr, ssim] = [psnr(real, other, None), ssim(real, other, None)]
                .map(|pairs| Vec::<f64>::try_from(pairs).expect("a number a pair"));
            let line = serde_json::json!({ "name": name, "psnr": psnr, "ssim": ssim });
            writeln!(stdout, "{line}")?;
        }
        let Some(name) = key.strip_suffix(".real") else { continue };
        let get = |what: &str| tensors.get(&format!("{name}.{what}"));
        let fake = get("fake").ok_or("a real set without a fake one")?;
        let mut scores = scores(name, real, fake)?;
        if let (Some(real_rows), Some(fake_rows)) = (get("real_rows"), get("fake_rows")) {
            let kernel = kernel_distance_in(real, fake, real_rows, fake_rows)?;
            scores["kernel_same_subsets"] = serde_json::to_value(kernel)?;
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
    let infinity = frechet_distance_infinity(&Moments::of(real)?, fake, 0)?;
    let classes = |x: &Tensor| Tensor::arange(x.size()[0], (Kind::Int64, Device::Cpu)).remainder(3);
    let by_class = ClassReference::new(real, &classes(real), 3)?.score(fake, &classes(fake))?;
    let by_class: Vec<_> = by_class.into_iter().map(|class| class.distance).collect();
    // The first half of the real images as training images, the others as held-out ones.
    let halves = real.tensor_split(2, 0);
    let memorization = MemorizationReference::new(&halves[0], &halves[1], Space::Features, 0)?;
    let suspects = memorization.score(fake, fake.size()[0] as usize)?.suspects;
    let order = Vec::<i64>::try_from(draw_rows(fake.size()[0], fake.size()[0], 0))?;
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
        "frechet_distance_infinity": infinity.value,
        "frechet_distance_infinity_standard_error": infinity.standard_error,
        "order": order,
        "by_class": by_class,
        "suspects": suspects,
        "seconds": { "frechet": frechet_seconds, "kernel": kernel_seconds, "neighbours": neighbour_seconds },
    }))
}
