use paragone_nn::conv;
use tch::{
    Tensor,
    nn::{self, Module, Path},
};

/// A convolution that keeps height and width.
///
/// One of a single pixel at a single position is a product of matrices and computed as such: as a convolution it takes libtorch
/// several times as long on a CPU.
#[derive(Debug)]
pub(crate) struct Conv(nn::Conv2D);

impl Conv {
    /// First weights as PyTorch's.
    pub(crate) fn new(path: Path, input: i64, output: i64, kernel: i64) -> Self {
        Self(conv(path, input, output, kernel))
    }

    /// First weights `gain` times PyTorch's, first biases zero, so that a deep sum of branches begins near the identity (Child
    /// 2021, section 4.2) while every parameter gets a gradient from the start.
    fn scaled(path: Path, input: i64, output: i64, kernel: i64, gain: f64) -> Self {
        let mut layer = conv(path, input, output, kernel);
        tch::no_grad(|| {
            let _ = layer.ws.g_mul_scalar_(gain);
            let _ = layer.bs.as_mut().map(Tensor::zero_);
        });
        Self(layer)
    }
}

impl Module for Conv {
    /// `[n, input, h, w]` to `[n, output, h, w]`.
    fn forward(&self, x: &Tensor) -> Tensor {
        let Self(layer) = self;
        let single = [x, &layer.ws].iter().all(|t| t.size()[2..] == [1, 1]);
        if !single {
            return x.apply(layer);
        }
        let weight = layer.ws.flatten(1, -1);
        x.flatten(1, -1).linear(&weight, layer.bs.as_ref()).unsqueeze(-1).unsqueeze(-1)
    }
}

/// Two 3x3 convolutions around a skip: x + conv(silu(conv(silu(x)))).
#[derive(Debug)]
pub(crate) struct ResBlock {
    conv1: Conv,
    conv2: Conv,
}

impl ResBlock {
    /// `kernel` is 3, or 1 where there is a single position. `gain` scales the last layer's first weights.
    pub(crate) fn new(path: Path, channels: i64, kernel: i64, gain: f64) -> Self {
        let conv1 = Conv::new(&path / "conv1", channels, channels, kernel);
        let conv2 = Conv::scaled(&path / "conv2", channels, channels, kernel, gain);
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
    reduce: Conv,
    mix: Conv,
    expand: Conv,
}

impl Bottleneck {
    /// From `channels.0` through `channels.1` to `channels.2`; `kernel` and `gain` as for [`ResBlock::new`].
    pub(crate) fn new(path: Path, channels: (i64, i64, i64), kernel: i64, gain: f64) -> Self {
        let (input, inner, output) = channels;
        Self {
            reduce: Conv::new(&path / "reduce", input, inner, 1),
            mix: Conv::new(&path / "mix", inner, inner, kernel),
            expand: Conv::scaled(&path / "expand", inner, output, 1, gain),
        }
    }

    /// `[n, input, h, w]` to `[n, output, h, w]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.silu().apply(&self.reduce).silu().apply(&self.mix).silu().apply(&self.expand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::seeded;
    use tch::{Device, Kind, nn::VarStore};

    #[test]
    fn a_single_position_is_a_convolution_all_the_same() {
        let _turn = seeded();
        let vars = VarStore::new(Device::Cpu);
        let layer = Conv::new(vars.root() / "conv", 6, 4, 1);
        let x = Tensor::randn([3, 6, 1, 1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let slopes = |y: &Tensor| {
            let leaves = [&x, &layer.0.ws, layer.0.bs.as_ref().unwrap()];
            Tensor::run_backward(&[y.square().sum(Kind::Float)], &leaves, false, false)
        };
        let (product, convolution) = (x.apply(&layer), x.apply(&layer.0));
        assert_eq!(product.size(), [3, 4, 1, 1]);
        assert!(product.allclose(&convolution, 1e-5, 1e-6, false));
        for (got, want) in slopes(&product).iter().zip(slopes(&convolution)) {
            assert_eq!(got.size(), want.size());
            assert!(got.allclose(&want, 1e-5, 1e-6, false));
        }
    }
}
