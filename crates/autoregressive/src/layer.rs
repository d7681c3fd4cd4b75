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
    pub(crate) kernel: Kernel,
    pub(crate) gate: Gate,
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
    /// Of each layer in turn, `all` being those of both stacks of all layers, `[n, layers 4 c, h, w]`.
    pub(crate) fn of_layers(all: &Tensor, layers: usize) -> Vec<GateBias> {
        let parts = all.chunk(2 * layers as i64, 1);
        let pairs = parts.chunks(2).map(|pair| GateBias {
            vertical: pair[0].shallow_clone(),
            horizontal: pair[1].shallow_clone(),
        });
        pairs.collect()
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
    /// `x + bias`, and its first half of axis 1 gated by the second.
    fn biased(self, x: &Tensor, bias: &Tensor) -> (Tensor, Tensor) {
        match self {
            Gate::Linear => torch_ext::bias_gate(x, bias).expect("a layer's bias fits its gates"),
            Gate::Tanh => {
                let sum = x + bias;
                let gated = self.apply(&sum);
                (sum, gated)
            }
        }
    }

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
    /// Columns of the vertical stack, odd.
    pub(crate) columns: i64,
    /// Distance of these rows and columns from each other.
    pub(crate) dilation: i64,
}

impl Kernel {
    /// Rows above the own one as far as the vertical stack sees.
    pub(crate) fn above(self) -> i64 {
        (self.rows - 1) * self.dilation
    }

    /// Columns to either side as far as the vertical stack sees.
    pub(crate) fn beside(self) -> i64 {
        self.columns / 2 * self.dilation
    }

    /// Neighbouring pixels that the horizontal stack sees, its own among them.
    pub(crate) fn left(self) -> i64 {
        self.columns / 2 + 1
    }
}

impl GatedLayer {
    pub(crate) fn new(path: &Path, c: i64, kernel: Kernel, gate: Gate, last: bool) -> Self {
        let out = |name: &str| {
            causal_conv(&(path / name), c, c, [1, 1], Causal { bias: false, ..Causal::default() })
        };
        Self {
            kernel,
            gate,
            vertical: {
                let Kernel { rows, columns, dilation } = kernel;
                let causal = Causal { beside: kernel.beside(), dilation, bias: true };
                causal_conv(&(path / "vertical"), c, 2 * c, [rows, columns], causal)
            },
            across: conv(path / "across", 2 * c, 2 * c, 1),
            horizontal: {
                let causal = Causal { bias: false, ..Causal::default() };
                causal_conv(&(path / "horizontal"), c, 2 * c, [1, kernel.left()], causal)
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
        bias: &GateBias,
        dropout: f64,
    ) -> (Tensor, Tensor) {
        let above = v.constant_pad_nd([0, 0, self.kernel.above(), 0]);
        let left = h.constant_pad_nd([self.kernel.left() - 1, 0, 0, 0]);
        let (v_gates, v_gated) = self.gate.biased(&self.vertical.forward(&above), &bias.vertical);
        // In place: a pass over the features costs as much as a convolution of few channels.
        let across = self.across.forward(&v_gates);
        let h_gates = self.horizontal.forward(&left).g_add_(&across);
        let (_, h_gated) = self.gate.biased(&h_gates, &bias.horizontal);
        let drop = |x: Tensor| if dropout > 0.0 { x.dropout(dropout, true) } else { x };
        let h = h + self.horizontal_out.forward(&drop(h_gated));
        let v = match &self.vertical_out {
            Some(out) => v + out.forward(&drop(v_gated)),
            None => v,
        };
        (v, h)
    }
}

/// What a [`causal_conv`] has beside its kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Causal {
    /// Columns of padding on either side. Above and to the left, who calls pads: the own pixel ends the kernel there.
    pub(crate) beside: i64,
    pub(crate) dilation: i64,
    /// Left out where another term already has one.
    pub(crate) bias: bool,
}

impl Default for Causal {
    fn default() -> Self {
        Self { beside: 0, dilation: 1, bias: true }
    }
}

/// A convolution of `[rows, columns]`, initialised as PyTorch does.
pub(crate) fn causal_conv(
    path: &Path,
    in_channels: i64,
    out_channels: i64,
    kernel: [i64; 2],
    causal: Causal,
) -> Conv2D {
    let bound = 1.0 / ((in_channels * kernel[0] * kernel[1]) as f64).sqrt();
    let init = Init::Uniform { lo: -bound, up: bound };
    let config = nn::ConvConfigND {
        padding: [0, causal.beside],
        dilation: [causal.dilation; 2],
        bias: causal.bias,
        ws_init: init,
        bs_init: init,
        ..Default::default()
    };
    nn::conv(path, in_channels, out_channels, kernel, config)
}
