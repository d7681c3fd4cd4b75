//! Convolutions and linear layers as PyTorch initialises them, and blocks of pixels as channels.
//!
//! tch's own defaults draw weights √6 times larger than PyTorch's, which published recipes were tuned on.

use std::borrow::Borrow;
use tch::{
    Tensor,
    nn::{self, Init, Path},
};

/// A convolution that keeps height and width: stride 1, zero padding, a bias.
///
/// `kernel` is odd. Weights and bias are uniform in ±1/√fan_in, PyTorch's default.
pub fn conv<'a>(
    path: impl Borrow<Path<'a>>,
    in_channels: i64,
    out_channels: i64,
    kernel: i64,
) -> nn::Conv2D {
    same_conv(path, in_channels, out_channels, kernel, pytorch_init(in_channels * kernel * kernel))
}

/// A convolution as [`conv`], weights and bias zero: the last layer of a branch, which then begins as if it were not there.
pub fn zero_conv<'a>(
    path: impl Borrow<Path<'a>>,
    in_channels: i64,
    out_channels: i64,
    kernel: i64,
) -> nn::Conv2D {
    same_conv(path, in_channels, out_channels, kernel, Init::Const(0.0))
}

fn same_conv<'a>(
    path: impl Borrow<Path<'a>>,
    in_channels: i64,
    out_channels: i64,
    kernel: i64,
    init: Init,
) -> nn::Conv2D {
    assert!(kernel % 2 == 1, "an even kernel has no centre: {kernel}");
    let config = nn::ConvConfig {
        padding: kernel / 2,
        ws_init: init,
        bs_init: init,
        ..nn::ConvConfig::default()
    };
    nn::conv2d(path, in_channels, out_channels, kernel, config)
}

/// A linear layer `[.., in_features]` to `[.., out_features]`, weights and bias uniform in ±1/√in_features.
pub fn linear<'a>(path: impl Borrow<Path<'a>>, in_features: i64, out_features: i64) -> nn::Linear {
    let init = pytorch_init(in_features);
    let config = nn::LinearConfig { ws_init: init, bs_init: Some(init), bias: true };
    nn::linear(path, in_features, out_features, config)
}

/// Uniform in ±1/√fan_in: PyTorch's default for weights and bias of convolutions and linear layers.
pub fn pytorch_init(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// The same features `[n, c, h, w]`, those of one position side by side in memory: convolutions of such features give such features,
/// and those of other orders are brought into this or a similar one first.
pub fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Moves blocks of `factor.0` x `factor.1` positions into channels: `[n, c, h, w]` to
/// `[n, factor.0 * factor.1 * c, h / factor.0, w / factor.1]`, [channels last](channels_last). All channels of a block's first position
/// come first, and so on (TensorFlow's order): in memory nothing smaller than a position's channels is moved.
pub fn space_to_depth(x: &Tensor, factor: (i64, i64)) -> Tensor {
    let (n, c, h, w) = x.size4().expect("feature maps have four dimensions");
    let (fh, fw) = factor;
    let positions = x.permute([0, 2, 3, 1]).reshape([n, h / fh, fh, w / fw, fw, c]);
    let blocks = positions.permute([0, 1, 3, 2, 4, 5]).reshape([n, h / fh, w / fw, fh * fw * c]);
    channels_last(&blocks.permute([0, 3, 1, 2]))
}

/// The inverse of [`space_to_depth`].
pub fn depth_to_space(x: &Tensor, factor: (i64, i64)) -> Tensor {
    let (n, c, h, w) = x.size4().expect("feature maps have four dimensions");
    let (fh, fw) = factor;
    let c = c / (fh * fw);
    let blocks = x.permute([0, 2, 3, 1]).reshape([n, h, w, fh, fw, c]);
    let positions = blocks.permute([0, 1, 3, 2, 4, 5]).reshape([n, h * fh, w * fw, c]);
    channels_last(&positions.permute([0, 3, 1, 2]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LOCK;
    use tch::{Device, Kind, nn::VarStore};

    /// Largest magnitude and variance.
    fn spread(t: &Tensor) -> (f64, f64) {
        (t.abs().max().double_value(&[]), t.var(true).double_value(&[]))
    }

    #[test]
    fn zero_conv_is_zero_and_learns() {
        let _lock = LOCK.lock().unwrap();
        let vars = VarStore::new(Device::Cpu);
        let layer = zero_conv(vars.root(), 3, 4, 1);
        let y = Tensor::randn([2, 3, 4, 4], (Kind::Float, Device::Cpu)).apply(&layer);
        assert_eq!(y.abs().max().double_value(&[]), 0.0);
        (y + 1.0).square().sum(Kind::Float).backward();
        assert!(layer.ws.grad().abs().max().double_value(&[]) > 0.0);
    }

    #[test]
    fn conv_keeps_size_and_starts_as_pytorchs() {
        let _lock = LOCK.lock().unwrap();
        let vars = VarStore::new(Device::Cpu);
        let layer = conv(vars.root() / "conv", 32, 48, 3);
        let x = Tensor::randn([2, 32, 7, 5], (Kind::Float, Device::Cpu));
        assert_eq!(x.apply(&layer).size(), [2, 48, 7, 5]);
        // Uniform in ±b has variance b²/3; b = 1/√(32·9), 13,824 weights: standard error 0.8 %.
        let (largest, variance) = spread(&layer.ws);
        let bound = 1.0 / 288f64.sqrt();
        assert!(largest <= bound && largest > 0.99 * bound);
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.04);
        assert!(spread(layer.bs.as_ref().unwrap()).0 <= bound);
        let mut names: Vec<_> = vars.variables().into_keys().collect();
        names.sort();
        assert_eq!(names, ["conv.bias", "conv.weight"]);
    }

    #[test]
    fn linear_starts_as_pytorchs() {
        let _lock = LOCK.lock().unwrap();
        let vars = VarStore::new(Device::Cpu);
        let layer = linear(vars.root() / "linear", 100, 80);
        let (largest, variance) = spread(&layer.ws);
        assert!(largest <= 0.1 && largest > 0.099);
        assert!((variance / (0.01 / 3.0) - 1.0).abs() < 0.05);
        assert!(spread(layer.bs.as_ref().unwrap()).0 <= 0.1);
    }

    #[test]
    fn blocks_go_to_channels_and_back() {
        let x = Tensor::arange(2 * 3 * 4 * 6, (Kind::Float, Device::Cpu)).reshape([2, 3, 4, 6]);
        // PyTorch's order has a channel's positions side by side.
        let theirs = x.pixel_unshuffle(2).reshape([2, 3, 4, 2, 3]).transpose(1, 2);
        let blocks = space_to_depth(&x, (2, 2));
        assert!(blocks.equal(&theirs.reshape([2, 12, 2, 3])));
        assert!(depth_to_space(&blocks, (2, 2)).equal(&x));
        let whole = space_to_depth(&x, (4, 6));
        assert_eq!(whole.size(), [2, 72, 1, 1]);
        assert!(depth_to_space(&whole, (4, 6)).equal(&x));
    }
}
