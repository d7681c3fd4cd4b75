//! Layers of both networks: residual blocks without normalization, and changes of resolution.
//!
//! Weights are normal with the variance that keeps activations (He et al. 2015); the last layer of a residual branch
//! begins at zero (FixUp, Zhang et al. 2019), so a network begins as its resolution changes alone.

use paragone_nn::{depth_to_space, space_to_depth};
use std::borrow::Borrow;
use tch::{
    Tensor,
    nn::{self, Init, Path},
};

/// Slope of the leaky ReLU for negative inputs.
const SLOPE: f64 = 0.2;

/// Gain that makes up for a leaky ReLU before the layer: √(2 / (1 + slope²)).
pub const RELU_GAIN: f64 = 1.386_750_490_563_073;

/// max(x, 0.2 x).
///
/// tch's own has no slope to choose. The derivative's kernel, given x for a gradient, is this function in one pass; it can
/// be differentiated twice as well.
pub fn leaky_relu(x: &Tensor) -> Tensor {
    x.detach().leaky_relu_backward(x, SLOPE, false)
}

/// A convolution that keeps height and width; weights normal with standard deviation `gain`/√fan_in, bias zero.
pub fn conv<'a>(
    path: impl Borrow<Path<'a>>,
    inputs: i64,
    outputs: i64,
    kernel: i64,
    gain: f64,
) -> nn::Conv2D {
    let config = nn::ConvConfig {
        padding: kernel / 2,
        ws_init: normal(gain, inputs * kernel * kernel),
        bs_init: Init::Const(0.0),
        ..nn::ConvConfig::default()
    };
    nn::conv2d(path, inputs, outputs, kernel, config)
}

/// A linear layer; weights normal with standard deviation `gain`/√inputs, bias zero.
pub fn linear<'a>(path: impl Borrow<Path<'a>>, inputs: i64, outputs: i64, gain: f64) -> nn::Linear {
    let config = nn::LinearConfig {
        ws_init: normal(gain, inputs),
        bs_init: Some(Init::Const(0.0)),
        bias: true,
    };
    nn::linear(path, inputs, outputs, config)
}

fn normal(gain: f64, fan_in: i64) -> Init {
    Init::Randn { mean: 0.0, stdev: gain / (fan_in as f64).sqrt() }
}

/// x + conv(lrelu(m(conv(lrelu(x))))), where m modulates and adds noise if the block has either.
#[derive(Debug)]
pub struct ResidualBlock {
    first: nn::Conv2D,
    last: nn::Conv2D,
    style: Option<nn::Linear>,
    /// Standard deviation of the noise in each channel, `[1, width, 1, 1]`.
    noise: Option<Tensor>,
}

impl ResidualBlock {
    /// A block on `width` channels; `style_dim` 0: without modulation.
    pub fn new(path: &Path, width: i64, style_dim: i64, pixel_noise: bool) -> Self {
        let style = || linear(path / "style", style_dim, 2 * width, 0.5);
        Self {
            first: conv(path / "first", width, width, 3, RELU_GAIN),
            last: conv(path / "last", width, width, 3, 0.0),
            style: (style_dim > 0).then(style),
            noise: pixel_noise.then(|| path.var("noise", &[1, width, 1, 1], Init::Const(0.1))),
        }
    }

    /// `x`: `[n, width, h, w]`; `style`: `[n, style_dim]`; `noise`: `[n, 1, h, w]`. What the block has no use for is ignored.
    pub fn forward(&self, x: &Tensor, style: Option<&Tensor>, noise: Option<&Tensor>) -> Tensor {
        let hidden = leaky_relu(x).apply(&self.first);
        let mut hidden = match (&self.style, style) {
            (Some(layer), Some(style)) => {
                let style = style.apply(layer).unsqueeze(-1).unsqueeze(-1).chunk(2, 1); // 2 × [n, width, 1, 1]
                // Sums in place, here and below: what they go into is new, and no gradient needs it as it was.
                ((&style[0] + 1.0) * hidden).g_add_(&style[1])
            }
            _ => hidden,
        };
        if let (Some(strength), Some(noise)) = (&self.noise, noise) {
            // In the activations' kind: f32 noise would lift a bf16 network to f32 from here on.
            let kind = hidden.kind();
            hidden = hidden.g_add_(&(noise.to_kind(kind) * strength.to_kind(kind)));
        }
        leaky_relu(&hidden).apply(&self.last).g_add_(x)
    }
}

/// Doubles the resolution: 1×1 convolution to four times the channels, then those to positions (Shi et al. 2016).
///
/// Begins as nearest-neighbour upsampling, all four pixels from the same weights (Aitken et al. 2017).
pub fn up_conv(path: &Path, inputs: i64, outputs: i64) -> nn::Conv2D {
    let layer = conv(path, inputs, 4 * outputs, 1, 1.0);
    tch::no_grad(|| {
        let one = layer.ws.slice(0, 0, outputs, 1).repeat([4, 1, 1, 1]);
        layer.ws.shallow_clone().copy_(&one);
    });
    layer
}

/// [`up_conv`]'s forward pass: `[n, inputs, h, w]` to `[n, outputs, 2h, 2w]`.
pub fn upsample(layer: &nn::Conv2D, x: &Tensor) -> Tensor {
    depth_to_space(&x.apply(layer), (2, 2))
}

/// Halves the resolution: every 2×2 pixels become channels, then a 1×1 convolution. Loses nothing by itself.
pub fn down_conv(path: &Path, inputs: i64, outputs: i64) -> nn::Conv2D {
    conv(path, 4 * inputs, outputs, 1, 1.0)
}

/// [`down_conv`]'s forward pass: `[n, inputs, h, w]` to `[n, outputs, h / 2, w / 2]`.
pub fn downsample(layer: &nn::Conv2D, x: &Tensor) -> Tensor {
    space_to_depth(x, (2, 2)).apply(layer)
}
