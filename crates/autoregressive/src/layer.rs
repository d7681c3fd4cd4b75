//! One gated layer of both stacks. van den Oord et al. 2016, figure 2 and equations 2 and 4.

use paragone_nn::conv;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{
    Tensor,
    nn::{self, Conv2D, Init, Module, Path},
};

/// A gated layer: the vertical stack knows the rows above a pixel, the horizontal one the pixels left of it too.
///
/// The features at (i, j) of the vertical stack depend on image rows above i only, those of the horizontal stack on
/// these and on pixels left of j. The shift is in the first layer, so here each stack also sees its own position.
#[derive(Debug)]
pub(crate) struct GatedLayer {
    /// c to 2c channels, over `kernel_rows` rows that end at the own one.
    pub(crate) vertical: Conv2D,
    /// 2c to 2c channels: what the vertical stack tells the horizontal one.
    pub(crate) across: Conv2D,
    /// c to 2c channels, over pixels that end at the own one.
    pub(crate) horizontal: Conv2D,
    /// c to c channels; the last layer's vertical stack ends unread.
    pub(crate) vertical_out: Option<Conv2D>,
    /// c to c channels.
    pub(crate) horizontal_out: Conv2D,
}

/// What is added to the features before the gates of one layer: `[n, 2c, 1, 1]`, or `[n, 2c, h, w]` for a condition that
/// differs from place to place.
#[derive(Debug)]
pub(crate) struct GateBias {
    pub(crate) vertical: Tensor,
    pub(crate) horizontal: Tensor,
}

impl GateBias {
    /// The biases of these images, then those of `other` ones.
    pub(crate) fn followed_by(&self, other: &GateBias) -> GateBias {
        GateBias {
            vertical: Tensor::cat(&[&self.vertical, &other.vertical], 0),
            horizontal: Tensor::cat(&[&self.horizontal, &other.horizontal], 0),
        }
    }
}

/// What multiplies the sigmoid in a gated layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// a σ(b) (Dauphin et al. 2017), as in PixelCNN++: learns faster.
    #[default]
    Linear,
    /// tanh(a) σ(b), equation 2 of van den Oord et al. 2016.
    Tanh,
}

impl Gate {
    /// Gates the first half of axis 1 by the second.
    pub(crate) fn apply(self, gates: &Tensor) -> Tensor {
        match self {
            Gate::Linear => gates.glu(1),
            Gate::Tanh => {
                let halves = gates.chunk(2, 1);
                halves[0].tanh() * halves[1].sigmoid()
            }
        }
    }
}

/// Kernel of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    /// Rows of the vertical stack.
    pub(crate) rows: i64,
    /// Columns of the vertical stack, odd; the horizontal one's `columns / 2 + 1`.
    pub(crate) columns: i64,
}

impl Kernel {
    /// Pixels that the horizontal stack sees.
    pub(crate) fn left(self) -> i64 {
        self.columns / 2 + 1
    }
}

impl GatedLayer {
    pub(crate) fn new(path: &Path, channels: i64, kernel: Kernel, last: bool) -> Self {
        let wide = [kernel.rows, kernel.columns];
        let padding = [0, kernel.columns / 2];
        let out = |name: &str| plain_conv(&(path / name), channels, channels);
        Self {
            vertical: biased_conv(&(path / "vertical"), channels, 2 * channels, wide, padding),
            across: conv(path / "across", 2 * channels, 2 * channels, 1),
            horizontal: {
                let wide = [1, kernel.left()];
                unbiased_conv(&(path / "horizontal"), channels, 2 * channels, wide, [0, 0])
            },
            vertical_out: (!last).then(|| out("vertical_out")),
            horizontal_out: out("horizontal_out"),
        }
    }

    /// `v`, `h`: `[n, c, height, width]`. Returns both stacks after this layer; the last one's vertical is as it was.
    pub(crate) fn forward(
        &self,
        v: Tensor,
        h: Tensor,
        kernel: Kernel,
        gate: Gate,
        bias: &GateBias,
        dropout: f64,
    ) -> (Tensor, Tensor) {
        let above = v.constant_pad_nd([0, 0, kernel.rows - 1, 0]);
        let left = h.constant_pad_nd([kernel.left() - 1, 0, 0, 0]);
        // In place: a pass over the features costs as much as a convolution of few channels.
        let v_gates = self.vertical.forward(&above).g_add_(&bias.vertical);
        let across = self.across.forward(&v_gates);
        let h_gates = self.horizontal.forward(&left).g_add_(&across).g_add_(&bias.horizontal);
        let drop = |x: Tensor| if dropout > 0.0 { x.dropout(dropout, true) } else { x };
        let h = h + self.horizontal_out.forward(&drop(gate.apply(&h_gates)));
        let v = match &self.vertical_out {
            Some(out) => v + out.forward(&drop(gate.apply(&v_gates))),
            None => v,
        };
        (v, h)
    }
}

/// A convolution with a bias, initialised as PyTorch does.
pub(crate) fn biased_conv(
    path: &Path,
    in_channels: i64,
    out_channels: i64,
    kernel: [i64; 2],
    padding: [i64; 2],
) -> Conv2D {
    causal_conv(path, in_channels, out_channels, kernel, padding, true)
}

/// The same without a bias, where another term already has one.
pub(crate) fn unbiased_conv(
    path: &Path,
    in_channels: i64,
    out_channels: i64,
    kernel: [i64; 2],
    padding: [i64; 2],
) -> Conv2D {
    causal_conv(path, in_channels, out_channels, kernel, padding, false)
}

fn plain_conv(path: &Path, in_channels: i64, out_channels: i64) -> Conv2D {
    unbiased_conv(path, in_channels, out_channels, [1, 1], [0, 0])
}

fn causal_conv(
    path: &Path,
    in_channels: i64,
    out_channels: i64,
    kernel: [i64; 2],
    padding: [i64; 2],
    bias: bool,
) -> Conv2D {
    let bound = 1.0 / ((in_channels * kernel[0] * kernel[1]) as f64).sqrt();
    let init = Init::Uniform { lo: -bound, up: bound };
    let config =
        nn::ConvConfigND { padding, bias, ws_init: init, bs_init: init, ..Default::default() };
    nn::conv(path, in_channels, out_channels, kernel, config)
}
