//! Convolutions and linear layers as PyTorch initialises them, and nearest-neighbour upsampling.
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
    let init = uniform(in_channels * kernel * kernel);
    same_conv(path, in_channels, out_channels, kernel, 1, init)
}

/// A convolution that keeps every `stride`-th row and column of what [`conv`] makes: height `⌈h / stride⌉`, same for width.
pub fn strided_conv<'a>(
    path: impl Borrow<Path<'a>>,
    in_channels: i64,
    out_channels: i64,
    kernel: i64,
    stride: i64,
) -> nn::Conv2D {
    let init = uniform(in_channels * kernel * kernel);
    same_conv(path, in_channels, out_channels, kernel, stride, init)
}

/// [`conv`] with weights and bias zero: the last layer of a residual branch, which then begins as the identity.
pub fn zero_conv<'a>(
    path: impl Borrow<Path<'a>>,
    in_channels: i64,
    out_channels: i64,
    kernel: i64,
) -> nn::Conv2D {
    same_conv(path, in_channels, out_channels, kernel, 1, Init::Const(0.0))
}

/// A linear layer `[.., in_features]` to `[.., out_features]`, weights and bias uniform in ±1/√in_features.
pub fn linear<'a>(path: impl Borrow<Path<'a>>, in_features: i64, out_features: i64) -> nn::Linear {
    let init = uniform(in_features);
    let config = nn::LinearConfig { ws_init: init, bs_init: Some(init), bias: true };
    nn::linear(path, in_features, out_features, config)
}

/// Doubles height and width by repeating every pixel: `[n, c, h, w]` to `[n, c, 2h, 2w]`.
pub fn upsample2x(x: &Tensor) -> Tensor {
    let (_, _, height, width) = x.size4().expect("images have four dimensions");
    x.upsample_nearest2d([2 * height, 2 * width], None, None)
}

fn same_conv<'a>(
    path: impl Borrow<Path<'a>>,
    in_channels: i64,
    out_channels: i64,
    kernel: i64,
    stride: i64,
    init: Init,
) -> nn::Conv2D {
    assert!(kernel % 2 == 1, "an even kernel has no centre: {kernel}");
    let config = nn::ConvConfig {
        padding: kernel / 2,
        stride,
        ws_init: init,
        bs_init: init,
        ..nn::ConvConfig::default()
    };
    nn::conv2d(path, in_channels, out_channels, kernel, config)
}

fn uniform(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
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
    fn a_strided_conv_skips_pixels() {
        let _lock = LOCK.lock().unwrap();
        let vars = VarStore::new(Device::Cpu);
        let strided = strided_conv(vars.root(), 3, 4, 3, 2);
        let mut dense = conv(vars.root(), 3, 4, 3);
        (dense.ws, dense.bs) = (strided.ws.shallow_clone(), Some(strided.bs.as_ref().unwrap() * 1));
        let x = Tensor::randn([2, 3, 7, 6], (Kind::Float, Device::Cpu));
        let every_second = x.apply(&dense).slice(2, None, None, 2).slice(3, None, None, 2);
        assert!(x.apply(&strided).allclose(&every_second, 1e-5, 1e-6, false));
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
    fn upsampling_repeats_pixels() {
        let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).reshape([1, 1, 2, 2]);
        let want = [1f32, 1., 2., 2., 1., 1., 2., 2., 3., 3., 4., 4., 3., 3., 4., 4.];
        assert!(upsample2x(&x).equal(&Tensor::from_slice(&want).reshape([1, 1, 4, 4])));
    }
}
