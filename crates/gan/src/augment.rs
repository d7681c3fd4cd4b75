//! Differentiable augmentation of what the discriminator sees (Zhao et al. 2020), with a strength that may adapt to how
//! much the discriminator overfits (Karras et al. 2020, section 3.1).
//!
//! Shifts and mirrors are gathers, so that they can be differentiated twice (libtorch's `grid_sample` cannot). A shift
//! repeats the border where the papers show zeros: images here are seldom gray at their edge.

use crate::AugmentConfig;
use paragone_core::ImageShape;
use tch::{Kind, Tensor, nn::Path};

/// Augmentation and its strength, which is part of the model's state.
#[derive(Debug)]
pub struct Augment {
    config: AugmentConfig,
    shape: ImageShape,
    /// Probability of each change: f32 scalar in [0, 1].
    strength: Tensor,
}

impl Augment {
    /// Keeps the strength as the buffer `augment_strength` of `path`.
    pub fn new(path: &Path, config: &AugmentConfig, shape: ImageShape) -> Self {
        let mut strength = path.zeros_no_train("augment_strength", &[]);
        let _ = strength.fill_(config.strength);
        Self { config: config.clone(), shape, strength }
    }

    /// The images, each changed at random, all its channels alike: `[n, any, h, w]` to the same shape. Draws from libtorch's global generator.
    pub fn apply(&self, images: &Tensor) -> Tensor {
        if !self.config.enabled() {
            return images.shallow_clone();
        }
        let n = images.size()[0];
        let channels = images.size()[1];
        let [_, height, width] = self.shape.dims();
        let rows = self.sources(n, height, false).view([n, 1, height, 1]);
        let columns = self.sources(n, width, self.config.flip).view([n, 1, 1, width]);
        let moved = images
            .gather(2, &rows.expand([n, channels, height, width], false), false)
            .gather(3, &columns.expand([n, channels, height, width], false), false);
        if self.config.cutout == 0.0 {
            return moved;
        }
        let cut = self.selected(n).view([n, 1, 1, 1])
            * self.inside(n, height).view([n, 1, height, 1])
            * self.inside(n, width).view([n, 1, 1, width]);
        moved * (cut * -1.0 + 1.0).to_kind(images.kind())
    }

    /// Moves the strength towards the one at which `verdicts` lean to "real" as much as the target says.
    ///
    /// `verdicts`: the sum over images of the sign of each verdict; `images`: their number.
    pub fn adapt(&self, verdicts: &Tensor, images: &Tensor) {
        let Some(target) = self.config.target else { return };
        let direction = (verdicts / images - target).sign();
        let moved = (&self.strength + direction * images / self.config.ramp_images).clamp(0.0, 1.0);
        self.strength.shallow_clone().copy_(&moved);
    }

    /// 1 for each image that a change applies to, 0 for others: `[n, 1]`.
    fn selected(&self, n: i64) -> Tensor {
        let options = (Kind::Float, self.strength.device());
        Tensor::rand([n, 1], options).less_tensor(&self.strength).to_kind(Kind::Float)
    }

    /// Which position each position of a row (or column) of `length` takes its pixel from: i64 `[n, length]`.
    fn sources(&self, n: i64, length: i64, flip: bool) -> Tensor {
        let options = (Kind::Float, self.strength.device());
        let farthest = (self.config.translate * length as f64).round();
        let shift = (Tensor::rand([n, 1], options) * (2.0 * farthest + 1.0)).floor() - farthest;
        let position = Tensor::arange(length, options).unsqueeze(0);
        let mut source = (&position + shift * self.selected(n)).clamp(0.0, (length - 1) as f64);
        if flip {
            let mirrored = self.selected(n) * Tensor::rand([n, 1], options).less(0.5);
            source = source.lerp_tensor(&((length - 1) as f64 - &source), &mirrored);
        }
        source.round().to_kind(Kind::Int64)
    }

    /// 1 where a position of a row (or column) lies in the square that is cut out, 0 elsewhere: `[n, length]`.
    fn inside(&self, n: i64, length: i64) -> Tensor {
        let options = (Kind::Float, self.strength.device());
        let half = self.config.cutout * length as f64 / 2.0;
        let centre = Tensor::rand([n, 1], options) * length as f64;
        let position = Tensor::arange(length, options).unsqueeze(0) + 0.5;
        (position - centre).abs().less(half).to_kind(Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, nn::VarStore};

    const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn augment(config: AugmentConfig) -> Augment {
        let shape = ImageShape { channels: 2, height: 8, width: 6 };
        Augment::new(&VarStore::new(Device::Cpu).root(), &config, shape)
    }

    fn images() -> Tensor {
        Tensor::arange(64 * 2 * 8 * 6, F32).reshape([64, 2, 8, 6]).sin()
    }

    #[test]
    fn off_is_the_identity() {
        let off = augment(AugmentConfig::default());
        assert!(off.apply(&images()).equal(&images()));
        let _alone = crate::tests::alone();
        let waiting = augment(AugmentConfig { target: Some(0.6), ..AugmentConfig::default() });
        assert!(waiting.apply(&images()).equal(&images()));
    }

    #[test]
    fn full_strength_changes_about_every_image() {
        let _alone = crate::tests::alone();
        tch::manual_seed(1);
        let full = augment(AugmentConfig { strength: 1.0, flip: true, ..AugmentConfig::default() });
        let changed =
            full.apply(&images()).not_equal_tensor(&images()).flatten(1, -1).any_dim(1, false);
        assert!(changed.sum(Kind::Int64).int64_value(&[]) >= 60);
    }

    /// A mirrored image has every pixel of the original; half the images are mirrored, and no row moves.
    #[test]
    fn flips_half() {
        let _alone = crate::tests::alone();
        tch::manual_seed(2);
        let config = AugmentConfig {
            strength: 1.0,
            translate: 0.0,
            cutout: 0.0,
            flip: true,
            ..AugmentConfig::default()
        };
        let (x, y) = (images(), augment(config).apply(&images()));
        let equal = |a: &Tensor| a.eq_tensor(&y).flatten(1, -1).all_dim(1, false);
        let (same, mirrored) = (equal(&x), equal(&x.flip([3])));
        assert!(same.logical_or(&mirrored).all().int64_value(&[]) == 1);
        let share = mirrored.to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        assert!((share - 0.5).abs() < 0.25, "{share}"); // 4 standard errors at n = 64
    }

    #[test]
    fn gradients_pass_twice() {
        let _alone = crate::tests::alone();
        tch::manual_seed(3);
        let full = augment(AugmentConfig { strength: 1.0, ..AugmentConfig::default() });
        let x = images().set_requires_grad(true);
        let y = full.apply(&x).pow_tensor_scalar(3);
        let norms = crate::penalty::squared_gradient_norms(
            &y.sum_dim_intlist([1, 2, 3].as_slice(), false, Kind::Float),
            &x,
        )
        .unwrap();
        norms.sum(Kind::Float).backward();
        assert!(x.grad().abs().max().double_value(&[]) > 0.0);
    }

    #[test]
    fn strength_follows_the_verdicts() {
        let adaptive = augment(AugmentConfig {
            target: Some(0.5),
            ramp_images: 1000.0,
            ..AugmentConfig::default()
        });
        let told = |sum: f64| adaptive.adapt(&Tensor::from(sum as f32), &Tensor::from(100f32));
        let strength = || adaptive.strength.double_value(&[]);
        told(90.0);
        assert!((strength() - 0.1).abs() < 1e-6);
        told(80.0);
        assert!((strength() - 0.2).abs() < 1e-6);
        told(10.0);
        assert!((strength() - 0.1).abs() < 1e-6);
        told(-100.0);
        told(-100.0);
        assert_eq!(strength(), 0.0);
    }
}
