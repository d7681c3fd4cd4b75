//! Layers of the U-Net that keep PyTorch's initialisation.

use paragone_nn::pytorch_init;
use std::borrow::Borrow;
use tch::{
    Tensor,
    nn::{self, Path},
};

/// A convolution with zero padding that keeps every `stride`-th row and column: height `⌈h / stride⌉`, same for width.
///
/// `kernel` is odd. Weights and bias are PyTorch's default.
pub fn strided_conv<'a>(
    path: impl Borrow<Path<'a>>,
    in_channels: i64,
    out_channels: i64,
    kernel: i64,
    stride: i64,
) -> nn::Conv2D {
    let init = pytorch_init(in_channels * kernel * kernel);
    let config = nn::ConvConfig {
        padding: kernel / 2,
        stride,
        ws_init: init,
        bs_init: init,
        ..nn::ConvConfig::default()
    };
    nn::conv2d(path, in_channels, out_channels, kernel, config)
}

/// Doubles height and width by repeating every pixel: `[n, c, h, w]` to `[n, c, 2h, 2w]`.
pub fn upsample2x(x: &Tensor) -> Tensor {
    let (_, _, height, width) = x.size4().expect("images have four dimensions");
    x.upsample_nearest2d([2 * height, 2 * width], None, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::lock;
    use tch::{Device, Kind, nn::VarStore};

    #[test]
    fn a_strided_conv_skips_pixels() {
        let _lock = lock();
        let vars = VarStore::new(Device::Cpu);
        let strided = strided_conv(vars.root(), 3, 4, 3, 2);
        let mut dense = paragone_nn::conv(vars.root(), 3, 4, 3);
        (dense.ws, dense.bs) = (strided.ws.shallow_clone(), Some(strided.bs.as_ref().unwrap() * 1));
        let x = Tensor::randn([2, 3, 7, 6], (Kind::Float, Device::Cpu));
        let every_second = x.apply(&dense).slice(2, None, None, 2).slice(3, None, None, 2);
        assert!(x.apply(&strided).allclose(&every_second, 1e-5, 1e-6, false));
    }

    #[test]
    fn upsampling_repeats_pixels() {
        let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).reshape([1, 1, 2, 2]);
        let want = [1f32, 1., 2., 2., 1., 1., 2., 2., 3., 3., 4., 4., 3., 3., 4., 4.];
        assert!(upsample2x(&x).equal(&Tensor::from_slice(&want).reshape([1, 1, 4, 4])));
    }
}
