//! Counts how often the intervals of scores hold the true distance, and compares two ways to extrapolate the Fréchet
//! distance. All sets are drawn from known distributions; takes some minutes.

use paragone_core::{Noise, mix};
use paragone_metrics::{
    Moments, draw_rows, frechet_distance, frechet_distance_infinity, kernel_distance,
};
use std::{error::Error, io::Write};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    let normal = |n: i64, d: i64, seed: u64| {
        Noise::new(vec![seed], Device::Cpu).normal(0, &[n, d]).squeeze_dim(0)
    };
    writeln!(out, "Kernel distance, 32 dimensions: intervals that hold the true distance")?;
    let root = normal(32, 32, 0) / 32f64.sqrt();
    // Rectified, as the features of networks are, with directions of different spread.
    let scales = Tensor::linspace(1.5, 0.2, 32, (Kind::Float, Device::Cpu)).unsqueeze(1);
    let root = root * scales;
    let rectified = |n: i64, seed: u64, off: f64| {
        (normal(n, 32, seed).matmul(&root) * (1.0 + off) + off / 2.0).relu()
    };
    for off in [0.0, 0.01, 0.03, 0.1] {
        let truth = match off {
            0.0 => 0.0,
            _ => {
                let (x, y) = (rectified(200_000, 1, 0.0), rectified(200_000, 2, off));
                kernel_distance(&x, &y, 50, 4000, 0)?.mean
            }
        };
        for (n, m, subsets, size) in
            [(1000, 1000, 100, 100), (1000, 1000, 1, 1000), (3000, 500, 100, 100)]
        {
            let trials = 300;
            let (mut below, mut above) = (0, 0);
            let mut width = 0.0;
            for trial in 0..trials {
                let set = |n, which, off| rectified(n, mix(&[trial, which]), off);
                let (x, y) = (set(n, 3, 0.0), set(m, 4, off));
                let interval = kernel_distance(&x, &y, subsets, size, trial)?.interval;
                below += i32::from(truth < interval.low);
                above += i32::from(truth > interval.high);
                width += (interval.high - interval.low) / trials as f64;
            }
            let held = 1.0 - f64::from(below + above) / trials as f64;
            writeln!(
                out,
                "{n} real, {m} fake, {subsets} × {size}: distance {truth:.5}, interval {width:.5} wide holds it in {:.1} %",
                100.0 * held
            )?;
        }
    }

    writeln!(out, "Fréchet distance of infinitely many images, against 20,000 real ones")?;
    for (dim, n, off) in
        [(16, 1000, 0.0), (64, 1000, 0.0), (64, 1000, 0.08), (64, 300, 0.08), (128, 1000, 0.08)]
    {
        let fake = |n: i64, seed: u64| (normal(n, dim, seed) * (1.0 + off) + off).relu();
        let real = Moments::of(&normal(20_000, dim, 0).relu())?;
        let truth = frechet_distance(&real, &Moments::of(&fake(400_000, 1))?)?;
        let mut trials = [Vec::new(), Vec::new(), Vec::new()];
        let (mut held, count) = (0, 40);
        for seed in 2..2 + count {
            let images = fake(n, seed);
            let ours = frechet_distance_infinity(&real, &images, 0)?;
            held += i32::from((ours.value - truth).abs() < 1.96 * ours.standard_error);
            trials[0].push(frechet_distance(&real, &Moments::of(&images)?)?);
            trials[1].push(fifteen_sizes(&real, &images)?);
            trials[2].push(ours.value);
        }
        let [plain, fifteen, ours] = trials.map(|values| {
            let mean = values.iter().sum::<f64>() / count as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count as f64;
            format!("{:+.4} ± {:.4}", mean - truth, variance.sqrt())
        });
        writeln!(
            out,
            "{n} images, {dim} dimensions, distance {truth:.3}: off by {plain} as it is, {fifteen} with fifteen sizes, \
             {ours} with ten groups, whose ± 1.96 standard errors hold it in {:.0} %",
            f64::from(held) / count as f64 * 100.0
        )?;
    }
    Ok(())
}

/// The intercept of a line through the distances of random subsets of 15 sizes, evenly spaced from a tenth of the images to all.
fn fifteen_sizes(real: &Moments, images: &Tensor) -> Result<f64, Box<dyn Error>> {
    let n = images.size()[0];
    let points = (0..15)
        .map(|i| {
            let size = n / 10 + i * (n - n / 10) / 14;
            let rows = images.index_select(0, &draw_rows(n, size, i as u64));
            Ok((1.0 / size as f64, frechet_distance(real, &Moments::of(&rows)?)?))
        })
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / 15.0;
    let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
    let slope = mean(&|p| (p.0 - x) * (p.1 - y)) / mean(&|p| (p.0 - x).powi(2));
    Ok(y - slope * x)
}
