//! Image sets with known faults: what a score says of them is the scale that a model's score is read on.

use paragone_core::{ImageShape, Noise, mix};
use tch::{Device, Kind, Tensor};

/// Images of independent uniform levels: u8 `[n, c, h, w]` on the host.
pub fn noise_images(n: i64, shape: ImageShape, seed: u64) -> Tensor {
    let uniform = image_noise(n, seed).uniform(0, &shape.dims());
    (uniform * 256.0).floor().to_kind(Kind::Uint8)
}

/// The mean of the training images, rounded, `n` times: u8 `[n, c, h, w]`, from `train` u8 `[m, c, h, w]`, m > 0.
pub fn mean_image(train: &Tensor, n: i64) -> Tensor {
    let (count, c, h, w) = train.size4().expect("images are [n, c, h, w]");
    // Integer sums: exact, and without a copy of the set in floats.
    let sum = train.sum_dim_intlist(0, true, Kind::Int64).to_kind(Kind::Double);
    (sum / count as f64).round().to_kind(Kind::Uint8).expand([n, c, h, w], false)
}

/// A fault of known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Normal noise with a standard deviation of 4 levels.
    Noise,
    /// Everything one pixel to the right; what leaves comes in again at the left.
    Shift,
    /// Left and right exchanged.
    Mirror,
    /// The mean of every 3 × 3 square, zeros outside.
    Blur,
}

impl Defect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Noise, Self::Shift, Self::Mirror, Self::Blur];

    /// What calibration rows call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise_sigma_4",
            Self::Shift => "shift_1_pixel",
            Self::Mirror => "mirror",
            Self::Blur => "blur_3x3",
        }
    }

    /// `images`, u8 `[n, c, h, w]`, with the fault; the seed is for [`Defect::Noise`].
    pub fn apply(self, images: &Tensor, seed: u64) -> Tensor {
        match self {
            Self::Noise => {
                let size = images.size();
                let noise = image_noise(size[0], seed).normal(0, &size[1..]) * 4.0;
                to_u8(&(images.to_kind(Kind::Float) + noise.to_device(images.device())))
            }
            Self::Shift => images.roll([1i64], [3i64]),
            Self::Mirror => images.flip([3i64]),
            Self::Blur => to_u8(&images.to_kind(Kind::Float).avg_pool2d(
                [3i64, 3],
                [1i64, 1],
                [1i64, 1],
                false,
                true,
                None::<i64>,
            )),
        }
    }
}

fn image_noise(n: i64, seed: u64) -> Noise {
    Noise::new((0..n as u64).map(|i| mix(&[seed, i])).collect(), Device::Cpu)
}

fn to_u8(levels: &Tensor) -> Tensor {
    levels.round().clamp(0.0, 255.0).to_kind(Kind::Uint8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 3, height: 6, width: 5 };

    #[test]
    fn noise_takes_every_level_equally() {
        let images = noise_images(2000, SHAPE, 0);
        assert_eq!((images.kind(), images.size()), (Kind::Uint8, vec![2000, 3, 6, 5]));
        let counts = images.flatten(0, -1).to_kind(Kind::Int64).bincount(None::<&Tensor>, 256);
        // 703 of each, standard deviation 26.
        assert_eq!(counts.size(), [256]);
        assert!(counts.min().int64_value(&[]) > 560 && counts.max().int64_value(&[]) < 850);
        assert!(noise_images(3, SHAPE, 0).equal(&images.narrow(0, 0, 3)));
        assert!(!noise_images(3, SHAPE, 1).equal(&images.narrow(0, 0, 3)));
    }

    #[test]
    fn the_mean_image_is_rounded() {
        let train = Tensor::from_slice(&[0u8, 255, 10, 1, 255, 13]).reshape([2, 1, 1, 3]);
        let mean = mean_image(&train, 4);
        assert_eq!(mean.size(), [4, 1, 1, 3]);
        // 0.5 rounds to even, as libtorch and numpy round.
        assert_eq!(Vec::<u8>::try_from(mean.get(3).flatten(0, -1)).unwrap(), [0, 255, 12]);
    }

    #[test]
    fn defects_are_what_they_are_called() {
        let images = Tensor::arange(9, (Kind::Uint8, Device::Cpu)).reshape([1, 1, 3, 3]);
        let of =
            |defect: Defect| Vec::<u8>::try_from(defect.apply(&images, 0).flatten(0, -1)).unwrap();
        assert_eq!(of(Defect::Shift), [2, 0, 1, 5, 3, 4, 8, 6, 7]);
        assert_eq!(of(Defect::Mirror), [2, 1, 0, 5, 4, 3, 8, 7, 6]);
        // Sums 8, 15, 12; 21, 36, 27; 20, 33, 24 over 9.
        assert_eq!(of(Defect::Blur), [1, 2, 1, 2, 4, 3, 2, 4, 3]);
        let gray = Tensor::full(SHAPE.batch(50), 128, (Kind::Uint8, Device::Cpu));
        let noise = Defect::Noise.apply(&gray, 3).to_kind(Kind::Float) - 128.0;
        assert!((noise.std(true).double_value(&[]) - 4.01).abs() < 0.15);
        assert!(noise.mean(Kind::Float).double_value(&[]).abs() < 0.2);
    }
}
