//! How like two images are, pixel by pixel: for images that have a right answer.

use tch::{Kind, Tensor};

/// What identical images score: the ratio would be infinite.
pub const MAX_PSNR: f64 = 100.0;

/// Radius and standard deviation, in pixels, of the window that SSIM compares in (Wang et al. 2004: 11 by 11, 1.5).
const WINDOW: (i64, f64) = (5, 1.5);

/// Stabilizers of SSIM's two quotients, (0.01 · 255)² and (0.03 · 255)².
const STABILIZERS: (f64, f64) = (6.5025, 58.5225);

/// Peak signal-to-noise ratio in decibels of each pair of images, 10 log₁₀ (255² / mean squared error), at most
/// [`MAX_PSNR`]: f64 `[n]`.
///
/// `a` and `b`: u8 `[n, c, h, w]`; `region`: `[n, 1, h, w]`, the pixels that count being 1; `None`: all of them.
pub fn psnr(a: &Tensor, b: &Tensor, region: Option<&Tensor>) -> Tensor {
    decibels(&squared_error(a, b, region))
}

/// The same of all pairs together: of the mean of their squared errors.
///
/// A mean of decibels says how many pairs are identical, and little of how wrong the others are: to be one level off throughout
/// costs an identical pair half of its [`MAX_PSNR`].
pub fn pooled_psnr(a: &Tensor, b: &Tensor, region: Option<&Tensor>) -> f64 {
    decibels(&pooled_squared_error(a, b, region)).double_value(&[])
}

/// The [`pooled_psnr`] of the mean of many random answers, from two or more of them: `answers`, each like `truth`.
///
/// One answer of many is as far from the truth as they all scatter and as their mean is from it together: E|a - t|² = E|a - m|² +
/// |m - t|², and two of them are twice the first apart. A single guess is judged by its decibels justly, a random answer only by
/// this (Blau & Michaeli 2018: what looks real has more error, up to twice the least).
///
/// # Panics
/// If there are fewer than two answers.
pub fn pooled_psnr_of_mean(truth: &Tensor, answers: &[Tensor], region: Option<&Tensor>) -> f64 {
    let mean = |errors: Vec<Tensor>| Tensor::stack(&errors, 0).mean(Kind::Double);
    let to_truth = answers.iter().map(|a| pooled_squared_error(a, truth, region)).collect();
    let apart = (1..answers.len())
        .flat_map(|j| (0..j).map(move |i| (i, j)))
        .map(|(i, j)| pooled_squared_error(&answers[i], &answers[j], region))
        .collect();
    decibels(&(mean(to_truth) - mean(apart) / 2.0)).double_value(&[])
}

/// The mean of all pairs' [`squared_error`].
fn pooled_squared_error(a: &Tensor, b: &Tensor, region: Option<&Tensor>) -> Tensor {
    squared_error(a, b, region).mean(Kind::Double)
}

/// Mean squared differences of each pair in levels, f64 `[n]`.
fn squared_error(a: &Tensor, b: &Tensor, region: Option<&Tensor>) -> Tensor {
    mean_in(&(a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).square(), region)
}

fn decibels(mse: &Tensor) -> Tensor {
    let floor = 255f64.powi(2) / 10f64.powf(MAX_PSNR / 10.0);
    (mse.clamp_min(floor).reciprocal() * 255f64.powi(2)).log10() * 10.0
}

/// Structural similarity of each pair of images (Wang et al. 2004), 1 for identical ones: f64 `[n]`.
///
/// Statistics are those of a Gaussian window around every pixel of every channel, images going on mirrored at their edges;
/// arguments as those of [`psnr`]. Windows of pixels in `region` see pixels outside it.
pub fn ssim(a: &Tensor, b: &Tensor, region: Option<&Tensor>) -> Tensor {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let (mean_a, mean_b) = (smooth(&a), smooth(&b));
    let var_a = smooth(&a.square()) - mean_a.square();
    let var_b = smooth(&b.square()) - mean_b.square();
    let covariance = smooth(&(&a * &b)) - &mean_a * &mean_b;
    let (c1, c2) = STABILIZERS;
    let likeness = (&mean_a * &mean_b * 2.0 + c1) * (covariance * 2.0 + c2);
    let scale = (mean_a.square() + mean_b.square() + c1) * (var_a + var_b + c2);
    mean_in(&(likeness / scale), region)
}

/// Means over channels and the pixels of a region, `[n]`.
fn mean_in(values: &Tensor, region: Option<&Tensor>) -> Tensor {
    let sum = |t: &Tensor| t.flatten(1, -1).sum_dim_intlist(1, false, Kind::Double);
    match region {
        None => values.flatten(1, -1).mean_dim(1, false, Kind::Double),
        Some(region) => {
            let region = region.to_kind(Kind::Double).expand_as(values);
            sum(&(values * &region)) / sum(&region)
        }
    }
}

/// A Gaussian blur of f64 `[n, c, h, w]`, one dimension after the other.
fn smooth(x: &Tensor) -> Tensor {
    let (radius, sigma) = WINDOW;
    let weights: Vec<f64> =
        (-radius..=radius).map(|i| (-(i * i) as f64 / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    [2, 3].into_iter().fold(x.shallow_clone(), |x, dim| {
        let size = x.size()[dim as usize];
        let mut smoothed = x.zeros_like();
        for (offset, weight) in (-radius..=radius).zip(&weights) {
            let at: Vec<i64> = (0..size).map(|i| mirrored(i + offset, size)).collect();
            let at = Tensor::from_slice(&at).to_device(x.device());
            smoothed += x.index_select(dim, &at) * (weight / sum);
        }
        smoothed
    })
}

/// The pixel in `0..size` that stands for pixel `i` of an image that goes on mirrored: … 1 0 | 0 1 2 … .
fn mirrored(i: i64, size: i64) -> i64 {
    let i = i.rem_euclid(2 * size);
    i.min(2 * size - 1 - i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Two images of one channel, 12 by 16: waves and their remainders, the second disturbed.
    fn pair() -> (Tensor, Tensor) {
        let i = Tensor::arange(2 * 192, (Kind::Int64, Device::Cpu)).reshape([2, 1, 12, 16]);
        let a = (&i * 37).remainder(256);
        let b = (&a + (&i * &i).remainder(23) - 11).clamp(0, 255);
        (a.to_kind(Kind::Uint8), b.to_kind(Kind::Uint8))
    }

    fn values(t: &Tensor) -> Vec<f64> {
        Vec::try_from(t).unwrap()
    }

    #[test]
    fn identical_images_are_alike() {
        let (a, b) = pair();
        assert_eq!(values(&psnr(&a, &a, None)), [MAX_PSNR; 2]);
        assert!(values(&ssim(&b, &b, None)).iter().all(|x| (x - 1.0).abs() < 1e-12));
    }

    /// Golden values of scikit-image 0.26, from `scripts/check-metrics`.
    #[test]
    fn pairs_score_as_elsewhere() {
        let (a, b) = pair();
        let close = |got: Tensor, want: [f64; 2]| {
            let got = values(&got);
            got.iter().zip(want).for_each(|(g, w)| assert!((g - w).abs() < 1e-9, "{got:?}"));
        };
        close(psnr(&a, &b, None), [32.10455249770029, 32.17400466177723]);
        close(ssim(&a, &b, None), [0.9968028050266904, 0.9968825200258419]);
    }

    #[test]
    fn an_identical_pair_halves_the_error_and_no_more() {
        let (a, b) = pair();
        let (first, second) = (a.narrow(0, 0, 1), b.narrow(0, 0, 1));
        let alone = pooled_psnr(&first, &second, None);
        assert!((alone - values(&psnr(&first, &second, None))[0]).abs() < 1e-12);
        let beside = |t: &Tensor| Tensor::cat(&[t, &first], 0);
        let both = pooled_psnr(&first.repeat([2, 1, 1, 1]), &beside(&second), None);
        assert!((both - alone - 10.0 * 2f64.log10()).abs() < 1e-9, "{both} and {alone}");
        assert_eq!(pooled_psnr(&a, &a, None), MAX_PSNR);
    }

    /// Answers around a mean 6 levels off the truth.
    #[test]
    fn a_mean_is_judged_without_the_scatter_of_answers() {
        let truth = Tensor::full([400, 1, 8, 8], 100, (Kind::Uint8, Device::Cpu));
        tch::manual_seed(0);
        let answer = || {
            let scatter = Tensor::randn([400, 1, 8, 8], (Kind::Float, Device::Cpu)) * 20.0;
            (scatter + 106.0).round().to_kind(Kind::Uint8)
        };
        let of = |mse: f64| 10.0 * (255f64.powi(2) / mse).log10();
        let answers = [answer(), answer(), answer()];
        // Rounding adds a twelfth to the variance.
        let one = pooled_psnr(&answers[0], &truth, None);
        assert!((one - of(36.0 + 400.0 + 1.0 / 12.0)).abs() < 0.05, "{one}");
        for answers in [&answers[..], &answers[..2]] {
            let of_mean = pooled_psnr_of_mean(&truth, answers, None);
            assert!((of_mean - of(36.0)).abs() < 1.0, "{of_mean}");
        }
    }

    #[test]
    fn only_the_region_counts() {
        let (a, b) = pair();
        let region = Tensor::zeros([2, 1, 12, 16], (Kind::Float, Device::Cpu));
        let _ = region.narrow(3, 0, 8).fill_(1.0);
        let left = |t: &Tensor| t.narrow(3, 0, 8);
        assert!(psnr(&a, &b, Some(&region)).equal(&psnr(&left(&a), &left(&b), None)));
        let outside = a.where_self(&region.to_kind(Kind::Bool), &b);
        assert_eq!(values(&psnr(&a, &outside, Some(&region))), [MAX_PSNR; 2]);
        // The windows at the border see the other half.
        let seen = values(&ssim(&a, &outside, Some(&region)));
        assert!(seen.iter().all(|x| *x < 1.0 && *x > 0.5), "{seen:?}");
    }

    #[test]
    fn images_go_on_mirrored() {
        let at = (-5..8).map(|i| mirrored(i, 3)).collect::<Vec<_>>();
        assert_eq!(at, [1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]);
    }
}
