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
