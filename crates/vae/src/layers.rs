use paragone_nn::conv;
use tch::{
    Tensor,
    nn::{self, Path},
};

/// Two 3x3 convolutions around a skip: x + conv(silu(conv(silu(x)))).
#[derive(Debug)]
pub(crate) struct ResBlock {
    conv1: nn::Conv2D,
    conv2: nn::Conv2D,
}

impl ResBlock {
    /// `kernel` is 3, or 1 where there is a single position. `gain` scales the last layer's first weights.
    pub(crate) fn new(path: Path, channels: i64, kernel: i64, gain: f64) -> Self {
        let conv1 = conv(&path / "conv1", channels, channels, kernel);
        let conv2 = scaled_conv(&path / "conv2", channels, channels, kernel, gain);
        Self { conv1, conv2 }
    }

    /// `[n, channels, h, w]` to the same.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x + x.silu().apply(&self.conv1).silu().apply(&self.conv2)
    }
}

/// 1x1 down, 3x3, 1x1 up to the parameters of a distribution: Child 2021, figure 3.
#[derive(Debug)]
pub(crate) struct Bottleneck {
    reduce: nn::Conv2D,
    mix: nn::Conv2D,
    expand: nn::Conv2D,
}

impl Bottleneck {
    /// From `channels.0` through `channels.1` to `channels.2`; `kernel` and `gain` as for [`ResBlock::new`].
    pub(crate) fn new(path: Path, channels: (i64, i64, i64), kernel: i64, gain: f64) -> Self {
        let (input, inner, output) = channels;
        Self {
            reduce: conv(&path / "reduce", input, inner, 1),
            mix: conv(&path / "mix", inner, inner, kernel),
            expand: scaled_conv(&path / "expand", inner, output, 1, gain),
        }
    }

    /// `[n, input, h, w]` to `[n, output, h, w]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.silu().apply(&self.reduce).silu().apply(&self.mix).silu().apply(&self.expand)
    }
}

/// A convolution whose first weights are `gain` times PyTorch's and whose first biases are zero, so that a deep sum of
/// branches begins near the identity (Child 2021, section 4.2) while every parameter gets a gradient from the start.
pub(crate) fn scaled_conv(
    path: Path,
    input: i64,
    output: i64,
    kernel: i64,
    gain: f64,
) -> nn::Conv2D {
    let mut layer = conv(path, input, output, kernel);
    tch::no_grad(|| {
        let _ = layer.ws.g_mul_scalar_(gain);
        let _ = layer.bs.as_mut().map(Tensor::zero_);
    });
    layer
}

/// Moves blocks of `factor.0` x `factor.1` positions into channels: `[n, c, h, w]` to
/// `[n, c * factor.0 * factor.1, h / factor.0, w / factor.1]`. Pixel-unshuffle, for blocks that need not be square.
pub(crate) fn space_to_depth(x: &Tensor, factor: (i64, i64)) -> Tensor {
    let (n, c, h, w) = x.size4().expect("feature maps have four dimensions");
    let (fh, fw) = factor;
    x.reshape([n, c, h / fh, fh, w / fw, fw]).permute([0, 1, 3, 5, 2, 4]).reshape([
        n,
        c * fh * fw,
        h / fh,
        w / fw,
    ])
}

/// The inverse of [`space_to_depth`].
pub(crate) fn depth_to_space(x: &Tensor, factor: (i64, i64)) -> Tensor {
    let (n, c, h, w) = x.size4().expect("feature maps have four dimensions");
    let (fh, fw) = factor;
    x.reshape([n, c / (fh * fw), fh, fw, h, w]).permute([0, 1, 4, 2, 5, 3]).reshape([
        n,
        c / (fh * fw),
        h * fh,
        w * fw,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn blocks_go_to_channels_and_back() {
        let x = Tensor::arange(2 * 3 * 4 * 6, (Kind::Float, Device::Cpu)).reshape([2, 3, 4, 6]);
        assert!(space_to_depth(&x, (2, 2)).equal(&x.pixel_unshuffle(2)));
        assert!(depth_to_space(&x.pixel_unshuffle(2), (2, 2)).equal(&x));
        let whole = space_to_depth(&x, (4, 6));
        assert_eq!(whole.size(), [2, 72, 1, 1]);
        assert!(depth_to_space(&whole, (4, 6)).equal(&x));
    }
}
