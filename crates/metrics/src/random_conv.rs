//! Features of a network whose weights are random and fixed: for data without a classifier, and free of labels everywhere.
//!
//! Random convolutions keep texture, edges and coarse layout apart though nobody trained them (Saxe et al. 2011). They are
//! no measure of meaning: prefer a classifier's features where there is one, and compare neither with the other. What they
//! see of known faults, beside a classifier and a network trained without labels, is in `weights/README.md`.

use crate::{
    FeatureExtractor, OnImages, Result,
    card::sha256,
    features::{check_images, in_batches},
    network::{BATCH, Layer, Network, POOLED},
    trainee::uniform_weight,
};
use paragone_core::mix;
use tch::{Device, Kind, Tensor};

/// The seed of the one network there is for each number of channels. Another seed is another extractor.
const SEED: u64 = 0;
const WIDTHS: [i64; 3] = [32, 64, 128];
const DIM: i64 = 128;

/// A random, fixed convolutional network as a feature extractor, for images of any size from 4 × 4 on.
#[derive(Debug)]
pub struct RandomConvFeatures {
    hash: String,
    network: Network,
}

impl RandomConvFeatures {
    /// The network for images of `channels` channels, on `device`.
    pub fn new(channels: i64, device: Device) -> Self {
        let layer = |i: u64, size: &[i64]| {
            let bias = Tensor::zeros([size[0]], (Kind::Float, device));
            Layer { weight: uniform_weight(size, mix(&[SEED, i])).to_device(device), bias }
        };
        let [a, b, c] = WIDTHS;
        let network = Network {
            convs: [
                layer(0, &[a, channels, 3, 3]),
                layer(1, &[b, a, 3, 3]),
                layer(2, &[c, b, 3, 3]),
            ],
            hidden: layer(3, &[DIM, c * POOLED * POOLED]),
            heads: Vec::new(),
        };
        let mut bytes = Vec::new();
        for (_, weight) in network.tensors().filter(|(name, _)| name.ends_with(".weight")) {
            let weight = weight.to_device(Device::Cpu).flatten(0, -1);
            let values = Vec::<f32>::try_from(weight).expect("a flat f32 tensor");
            bytes.extend(values.into_iter().flat_map(f32::to_le_bytes));
        }
        Self { hash: sha256(&bytes), network }
    }
}

impl FeatureExtractor for RandomConvFeatures {
    fn name(&self) -> &str {
        "random-conv"
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn dim(&self) -> i64 {
        DIM
    }

    fn features_with_progress(
        &self,
        images_u8: &Tensor,
        on_images: OnImages<'_>,
    ) -> Result<Tensor> {
        check_images(images_u8, self.network.channels(), None)?;
        in_batches(images_u8, BATCH, DIM, on_images, |batch| self.network.features(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Defect, ScoreOptions, Scores, evaluate_sets, mean_image, noise_images};
    use paragone_core::ImageShape;

    const SHAPE: ImageShape = ImageShape { channels: 1, height: 16, width: 16 };

    /// Smooth blobs of random place, size and brightness: u8 `[n, 1, 16, 16]`.
    fn blobs(n: i64, seed: u64) -> Tensor {
        let seeds = (0..n as u64).map(|i| mix(&[seed, i])).collect();
        let draws = paragone_core::Noise::new(seeds, Device::Cpu).uniform(0, &[4, 1, 1]);
        let [x, y, size, light] = [0, 1, 2, 3].map(|i| draws.select(1, i));
        let at = Tensor::arange(16, (Kind::Float, Device::Cpu));
        let apart = |at: Tensor, centre: Tensor| (at - (centre * 8.0 + 2.0)).square();
        let distance = apart(at.reshape([1, 1, 16]), x) + apart(at.reshape([1, 16, 1]), y);
        let levels = (light * 155.0 + 100.0) * (-distance / (size * 8.0 + 4.0)).exp();
        levels.round().to_kind(Kind::Uint8).unsqueeze(1)
    }

    #[test]
    fn is_the_same_network_everywhere() {
        let extractor = RandomConvFeatures::new(1, Device::Cpu);
        assert_eq!((extractor.name(), extractor.dim()), ("random-conv", 128));
        assert_eq!(extractor.hash(), RandomConvFeatures::new(1, Device::Cpu).hash());
        assert_ne!(extractor.hash(), RandomConvFeatures::new(3, Device::Cpu).hash());
        assert!(extractor.logits_of_features(&extractor.features(&blobs(1, 0)).unwrap()).is_none());
        let images = blobs(20, 0);
        let all = extractor.features(&images).unwrap();
        let one = extractor.features(&images.narrow(0, 7, 1)).unwrap();
        assert!((one - all.narrow(0, 7, 1)).abs().max().double_value(&[]) < 1e-5);
        assert!(extractor.features(&images.expand([20, 3, 16, 16], false)).is_err());
    }

    #[test]
    fn takes_any_size() {
        let extractor = RandomConvFeatures::new(3, Device::Cpu);
        for (height, width) in [(4, 5), (28, 28), (64, 33)] {
            let images = noise_images(2, ImageShape { channels: 3, height, width }, 0);
            assert_eq!(extractor.features(&images).unwrap().size(), [2, 128]);
        }
    }

    /// Every fault costs more than none, and a larger one more than a smaller one.
    #[test]
    fn scores_order_known_faults() {
        let extractor = RandomConvFeatures::new(1, Device::Cpu);
        let features = |images: &Tensor| extractor.features(images).unwrap();
        let (real, n) = (features(&blobs(600, 0)), 600);
        let options = ScoreOptions { kernel_subset_size: 300, ..ScoreOptions::default() };
        let score = |images: &Tensor| evaluate_sets(&real, &features(images), &options).unwrap();
        let test = blobs(n, 1);
        let noisy =
            |times: i64| (0..times).fold(test.copy(), |x, i| Defect::Noise.apply(&x, i as u64));

        let assert_worse = |good: &Scores, bad: &Scores| {
            assert!(good.frechet_distance < bad.frechet_distance, "{good:?} {bad:?}");
            assert!(good.kernel_distance.mean < bad.kernel_distance.mean, "{good:?} {bad:?}");
        };
        let mut previous = score(&test);
        for times in [4, 25, 150] {
            let next = score(&noisy(times));
            assert_worse(&previous, &next);
            previous = next;
        }
        let clean = score(&test);
        for defect in [Defect::Shift, Defect::Blur] {
            assert_worse(&clean, &score(&defect.apply(&test, 0)));
        }
        let (noise, mean) = (score(&noise_images(n, SHAPE, 0)), score(&mean_image(&test, n)));
        assert!(clean.precision > 0.7 && clean.recall > 0.7 && clean.coverage > 0.9, "{clean:?}");
        assert!(noise.precision == 0.0 && noise.coverage == 0.0, "{noise:?}");
        assert!(mean.recall == 0.0 && mean.coverage < 0.05, "{mean:?}");
        assert!(noise.frechet_distance > previous.frechet_distance);
    }
}
