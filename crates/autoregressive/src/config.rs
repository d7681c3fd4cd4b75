use crate::layer::Gate;
use paragone_core::{Error, Result};
use paragone_nn::pixel::PixelLikelihood;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A gated PixelCNN: pixel after pixel, each given those before, with an exact likelihood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutoregressiveConfig {
    /// Distribution of an 8-bit pixel given those before it.
    pub likelihood: PixelLikelihood,
    /// Feature maps of each of the two stacks.
    pub num_channels: i64,
    /// Gated layers after the first convolution.
    pub num_layers: i64,
    /// Sines and cosines of each pixel value that the first convolution sees beside it, at frequencies that double; 0: the
    /// value alone, as in the paper.
    pub num_frequencies: i64,
    /// Width of the first convolution, odd: it sees half as many rows above, and half as many pixels to the left.
    pub first_kernel: i64,
    /// Rows that a layer of the vertical stack sees: its own and those above.
    pub kernel_rows: i64,
    /// Columns that a layer of the vertical stack sees, odd; one of the horizontal stack sees its own and those left of it.
    pub kernel_columns: i64,
    /// Layer i of the vertical stack looks at pixels `dilations[i modulo length]` apart: reach at no cost.
    pub dilations: Vec<i64>,
    /// What multiplies the sigmoid in a gated layer: `linear`, or `tanh` as in the paper.
    pub gate: Gate,
    /// Hidden units for each pixel between the last layer and the distribution.
    pub head_channels: i64,
    /// Share of gated features set to zero in training.
    pub dropout: f64,
}

impl Default for AutoregressiveConfig {
    fn default() -> Self {
        Self {
            likelihood: PixelLikelihood::Auto,
            num_channels: 48,
            num_layers: 6,
            num_frequencies: 5,
            first_kernel: 7,
            kernel_rows: 2,
            kernel_columns: 3,
            dilations: vec![1, 2, 4],
            gate: Gate::Linear,
            head_channels: 128,
            dropout: 0.0,
        }
    }
}

impl AutoregressiveConfig {
    /// Small enough to train on 8x8 images within seconds.
    pub fn tiny() -> Self {
        Self {
            num_channels: 16,
            num_layers: 2,
            first_kernel: 5,
            dilations: vec![1],
            head_channels: 32,
            ..Self::default()
        }
    }

    /// Dilation of a layer of the vertical stack.
    pub(crate) fn dilation(&self, layer: i64) -> i64 {
        self.dilations[layer as usize % self.dilations.len()]
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let positive = [
            ("num_channels", self.num_channels),
            ("num_layers", self.num_layers),
            ("first_kernel", self.first_kernel),
            ("kernel_rows", self.kernel_rows),
            ("kernel_columns", self.kernel_columns),
            ("head_channels", self.head_channels),
        ];
        if let Some((key, value)) = positive.into_iter().find(|(_, value)| *value < 1) {
            return Err(Error::invalid(key, value, "must be at least 1"));
        }
        if !(0..=7).contains(&self.num_frequencies) {
            let rule = "must be in 0..=7: faster waves alias on 256 levels";
            return Err(Error::invalid("num_frequencies", self.num_frequencies, rule));
        }
        if self.first_kernel % 2 == 0 || self.first_kernel < 3 {
            let rule = "must be odd and at least 3";
            return Err(Error::invalid("first_kernel", self.first_kernel, rule));
        }
        if self.kernel_columns % 2 == 0 {
            return Err(Error::invalid("kernel_columns", self.kernel_columns, "must be odd"));
        }
        if self.dilations.is_empty() || self.dilations.iter().any(|&d| d < 1) {
            let value = format!("{:?}", self.dilations);
            return Err(Error::invalid("dilations", value, "must be numbers of at least 1"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::invalid("dropout", self.dropout, "must be in [0, 1)"));
        }
        Ok(())
    }
}
