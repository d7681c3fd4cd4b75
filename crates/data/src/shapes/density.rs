//! The probability of an image: of a picture as the renderer makes it, or of one with normal noise on every level.
//!
//! With noise the data is a mixture over scenes, p(x) = Σ p(s) Π q(x_i | render(s)_i), where q rounds a normal variable
//! about the rendered level and clamps it to 0..=255. Far scenes add nothing to the sum: those whose share of it is
//! provably below [`NEGLECTED`] are left out, and the others are found by the [`Recogniser`]. So −log2 p is the length of
//! the best code there is for the image, and a model's bits per dimension less their mean over the test set estimate its
//! Kullback–Leibler divergence from the data without bias.

use super::{recognise::Recogniser, render::render};
use crate::random::Random;
use rayon::prelude::*;

/// The most that leaving out far scenes may change a probability by, relatively: e^-30 or 1e-13.
const NEGLECTED: f64 = 30.0;

/// Parts of a level that its probability is integrated over, by Simpson's rule.
const PARTS: i32 = 1024;

/// Independent normal noise on every level of an image, rounded and clamped to 0..=255.
#[derive(Debug, Clone)]
pub struct PixelNoise {
    sigma: f64,
    /// ln q(x | mean), at x · 256 + mean.
    log_q: Vec<f64>,
    /// By x: the most of ln q(x | mean) over means.
    most: [f64; 256],
    /// ln q(x | mean) ≤ most(x) − decay · (x − mean)² for all.
    decay: f64,
}

impl PixelNoise {
    /// The least standard deviation, in levels: with less, most images would come out as they went in.
    pub const LEAST: f64 = 0.5;

    /// The greatest standard deviation: with more, scenes drown.
    pub const MOST: f64 = 64.0;

    /// Noise with a standard deviation of `sigma` levels before rounding.
    ///
    /// # Panics
    /// If `sigma` is not between [`PixelNoise::LEAST`] and [`PixelNoise::MOST`].
    pub fn new(sigma: f64) -> Self {
        assert!((Self::LEAST..=Self::MOST).contains(&sigma), "pixel noise of {sigma} levels");
        let rounded: Vec<f64> =
            (0..=512).map(|apart| log_rounded(f64::from(apart), sigma)).collect();
        // ln of the probability to be `apart` levels or more away on one side.
        let mut tails = vec![f64::NEG_INFINITY; rounded.len() + 1];
        for apart in (0..rounded.len()).rev() {
            tails[apart] = log_add(tails[apart + 1], rounded[apart]);
        }
        let mut log_q = vec![0.0; 256 * 256];
        for x in 0..256usize {
            for mean in 0..256usize {
                let apart = x.abs_diff(mean);
                let clamped = (x == 0 && mean > 0) || (x == 255 && mean < 255);
                log_q[x * 256 + mean] = match x {
                    _ if clamped => tails[apart],
                    // Half of the middle level and all beyond it, and the other half.
                    0 | 255 => log_add(tails[1], rounded[0]),
                    _ => rounded[apart],
                };
            }
        }
        let most: [f64; 256] = std::array::from_fn(|x| {
            log_q[x * 256..][..256].iter().copied().fold(f64::NEG_INFINITY, f64::max)
        });
        let mut decay = f64::INFINITY;
        for x in 0..256usize {
            for mean in (0..256usize).filter(|mean| *mean != x) {
                let fall = most[x] - log_q[x * 256 + mean];
                decay = decay.min(fall / x.abs_diff(mean).pow(2) as f64);
            }
        }
        Self { sigma, log_q, most, decay }
    }

    /// Standard deviation in levels, before rounding.
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// Adds the noise of a seed to an image.
    pub fn apply(&self, seed: u64, image: &mut [u8]) {
        Self::add(self.sigma, seed, image);
    }

    /// [`PixelNoise::apply`] for a standard deviation whose densities nobody asks for.
    pub(crate) fn add(sigma: f64, seed: u64, image: &mut [u8]) {
        let random = &mut Random::new(&[seed]);
        for two in image.chunks_mut(2) {
            // Box & Muller 1958.
            let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt() * sigma;
            let angle = std::f64::consts::TAU * random.unit();
            for (level, z) in two.iter_mut().zip([angle.cos(), angle.sin()]) {
                *level = (f64::from(*level) + radius * z).round().clamp(0.0, 255.0) as u8;
            }
        }
    }

    /// ln of the probability that `picture` becomes `image`, both of as many levels.
    pub fn log_probability(&self, image: &[u8], picture: &[u8]) -> f64 {
        let q = |(&x, &mean): (&u8, &u8)| self.log_q[usize::from(x) * 256 + usize::from(mean)];
        image.iter().zip(picture).map(q).sum()
    }

    /// The squared distance beyond which a scene's share is below e^`log_least` for sure.
    fn reach(&self, image: &[u8], log_least: f64) -> u64 {
        let most: f64 = image.iter().map(|&x| self.most[usize::from(x)]).sum();
        ((most - log_least).max(0.0) / self.decay).ceil() as u64
    }
}

/// ln of ∫ of the normal density over the level `apart` levels from the mean.
fn log_rounded(apart: f64, sigma: f64) -> f64 {
    // exp(-(apart + t)² / 2σ²) with its value at t = 0 taken out, so that nothing underflows.
    let relative = |t: f64| (-(2.0 * apart * t + t * t) / (2.0 * sigma * sigma)).exp();
    let step = 1.0 / f64::from(PARTS);
    let weighted = |i: i32| {
        let weight = if i == 0 || i == PARTS { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
        weight * relative(f64::from(i) * step - 0.5)
    };
    let integral = (0..=PARTS).map(weighted).sum::<f64>() * step / 3.0;
    let density = sigma * std::f64::consts::TAU.sqrt();
    integral.ln() - apart * apart / (2.0 * sigma * sigma) - density.ln()
}

fn log_add(a: f64, b: f64) -> f64 {
    let (most, least) = if a > b { (a, b) } else { (b, a) };
    if least == f64::NEG_INFINITY { most } else { most + (least - most).exp().ln_1p() }
}

/// ln p(image), or of its class too where one is given: p(image | class) = p(image, class) / p(class).
///
/// −∞ without noise for what is no picture of these scenes.
///
/// # Panics
/// If the image is not of the recogniser's size.
pub fn log_probability(
    recogniser: &Recogniser,
    noise: Option<&PixelNoise>,
    image: &[u8],
    class: Option<usize>,
) -> f64 {
    let scenes = recogniser.scenes();
    let mut picture = vec![0; image.len()];
    let mut sum = |limit: u64| {
        let mut sum = f64::NEG_INFINITY;
        for found in recogniser.within(image, |best| best.max(limit)) {
            let p = scenes.probability(&found.scene);
            let asked = class.is_none_or(|class| class == found.scene.class());
            if p == 0.0 || !asked {
                continue;
            }
            let given = match noise {
                None if found.squared_distance == 0 => 0.0,
                None => f64::NEG_INFINITY,
                Some(noise) => {
                    render(&found.scene, recogniser.side(), &mut picture);
                    noise.log_probability(image, &picture)
                }
            };
            sum = log_add(sum, p.ln() + given);
        }
        sum
    };
    let mut total = sum(0);
    if let Some(noise) = noise {
        // The nearest scene may be held out or of another class: look further until there is one that is not.
        let mut reach = recogniser.nearest(image).squared_distance.max(1000);
        while total == f64::NEG_INFINITY {
            reach *= 2;
            total = sum(reach);
        }
        total = sum(noise.reach(image, total - NEGLECTED));
    }
    total - class.map_or(0.0, |_| (1.0 / super::NUM_CLASSES as f64).ln())
}

/// The mean of −log2 p over images, in bits per level, with the standard error of that mean.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrueBits {
    /// Bits per dimension of the best code.
    pub value: f64,
    /// Standard error of the mean over images.
    pub standard_error: f64,
}

/// The bits per dimension that no model can do better than on average: those of the true distribution.
///
/// `images`: one after the other; `classes`: one an image, if models are told them. `None` if an image is impossible.
///
/// # Panics
/// If `images` are not whole images, or `classes` are not as many.
pub fn true_bits_per_dim(
    recogniser: &Recogniser,
    noise: Option<&PixelNoise>,
    images: &[u8],
    classes: Option<&[usize]>,
) -> Option<TrueBits> {
    let levels = recogniser.levels();
    let n = images.len() / levels;
    assert!(n > 0 && images.len() == n * levels, "whole images are asked for");
    assert!(classes.is_none_or(|classes| classes.len() == n), "a class an image is asked for");
    let bits: Vec<f64> = images
        .par_chunks(levels)
        .enumerate()
        .map(|(i, image)| {
            let class = classes.map(|classes| classes[i]);
            -log_probability(recogniser, noise, image, class)
                / std::f64::consts::LN_2
                / levels as f64
        })
        .collect();
    let mean = bits.iter().sum::<f64>() / n as f64;
    let squares: f64 = bits.iter().map(|bits| (bits - mean).powi(2)).sum();
    let standard_error = (squares / (n as f64 - 1.0).max(1.0) / n as f64).sqrt();
    mean.is_finite().then_some(TrueBits { value: mean, standard_error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Scenes,
        shapes::{Scene, draw, world::simple_pictures},
    };

    /// By the normal distribution function of C's `erfc`, with σ = 2.
    #[test]
    fn levels_have_the_probabilities_of_a_rounded_normal() {
        let noise = PixelNoise::new(2.0);
        let q = |x: usize, mean: usize| noise.log_q[x * 256 + mean].exp();
        for (x, mean, want) in [
            (100, 100, 0.197_412_651_365_847_4),
            (103, 100, 0.065_590_616_803_038_24),
            (0, 0, 0.598_706_325_682_923_7),
            (0, 3, 0.105_649_773_666_854_98),
            (255, 254, 0.401_293_674_317_076_3),
        ] {
            assert!((q(x, mean) - want).abs() < 1e-12, "{x} given {mean}: {}", q(x, mean));
        }
        for mean in 0..256 {
            let sum: f64 = (0..256).map(|x| q(x, mean)).sum();
            assert!((sum - 1.0).abs() < 1e-11, "{mean}: {sum}");
        }
    }

    #[test]
    fn noise_is_drawn_with_its_probabilities() {
        let noise = PixelNoise::new(3.0);
        let mut image = vec![2u8; 200_000];
        noise.apply(4, &mut image);
        for x in 0..12 {
            let want = noise.log_q[x * 256 + 2].exp() * 2e5;
            let got = image.iter().filter(|level| usize::from(**level) == x).count() as f64;
            assert!((got - want).abs() < 4.5 * want.sqrt(), "{x}: {got} not {want}");
        }
    }

    /// Against the sum over every simple scene there is.
    #[test]
    fn leaving_out_far_scenes_does_not_show() {
        let recogniser = Recogniser::new(16, Scenes::Simple);
        let noise = PixelNoise::new(40.0);
        for seed in 0..2 {
            let scene = draw::simple_scene(seed);
            let mut image = vec![0; 768];
            render(&scene, 16, &mut image);
            noise.apply(seed, &mut image);
            let sum = |class: Option<usize>| {
                let possible = |scene: &Scene| {
                    Scenes::Simple.probability(scene) > 0.0
                        && class.is_none_or(|class| class == scene.class())
                };
                let of_class = simple_pictures().iter().filter(|(scene, _)| possible(scene));
                let log_p = of_class.map(|(scene, picture)| {
                    Scenes::Simple.probability(scene).ln() + noise.log_probability(&image, picture)
                });
                log_p.fold(f64::NEG_INFINITY, log_add)
            };
            let got = log_probability(&recogniser, Some(&noise), &image, None);
            assert!((got - sum(None)).abs() < 1e-9, "{got} not {}", sum(None));
            // A class that the image does not show: only far scenes are left.
            let class = (scene.class() + 4) % 10;
            let got = log_probability(&recogniser, Some(&noise), &image, Some(class));
            assert!((got - sum(Some(class)) - 10f64.ln()).abs() < 1e-9, "{got}");
        }
    }

    /// Without noise, the mean over draws estimates the entropy of the scenes, which a sum gives.
    #[test]
    fn bits_estimate_the_entropy() {
        let recogniser = Recogniser::new(16, Scenes::Simple);
        let scenes: Vec<_> = (0..400).map(draw::simple_scene).collect();
        let mut images = vec![0; 400 * 768];
        for (image, scene) in images.chunks_mut(768).zip(&scenes) {
            render(scene, 16, image);
        }
        let entropy: f64 = Scenes::Simple
            .groups()
            .map(|group| -(group.count as f64) * group.probability * group.probability.log2())
            .sum();
        let bits = true_bits_per_dim(&recogniser, None, &images, None).unwrap();
        let apart = (bits.value - entropy / 768.0).abs();
        assert!(apart < 4.0 * bits.standard_error && bits.standard_error < 1e-4, "{bits:?}");
        let classes: Vec<usize> = scenes.iter().map(Scene::class).collect();
        let told = true_bits_per_dim(&recogniser, None, &images, Some(&classes)).unwrap();
        assert!((bits.value - told.value - 10f64.log2() / 768.0).abs() < 1e-12);
        images[5] ^= 1;
        assert_eq!(true_bits_per_dim(&recogniser, None, &images, None), None);
        let noise = PixelNoise::new(2.0);
        assert!(true_bits_per_dim(&recogniser, Some(&noise), &images, None).unwrap().value > 0.3);
    }
}
