//! The denoising network: a U-Net (Ronneberger et al. 2015) with residual blocks, on images folded into patches.
//!
//! Folding (space to depth) makes a 28x28 image a 14x14 one with four times the channels, where convolutions are dense
//! enough in arithmetic for a CPU.

use crate::{
    blocks::{NUM_GROUPS, NoiseEmbedding, ResBlock, SelfAttention, norm, norm_silu},
    layers::{strided_conv, upsample2x},
};
use paragone_core::{Conditions, DataSpec, Error, Result};
use paragone_nn::{
    ConditionEmbedding, CrossAttention, EncodedText, PlacedWords, conv, depth_to_space,
    space_to_depth, zero_conv,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{
    Tensor,
    nn::{self, Path},
};

/// Size of the denoising network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UNetConfig {
    /// Side of the square of pixels that is folded into channels at the entrance.
    pub patch: i64,
    /// Channels of each level; every further level halves height and width. Multiples of 8.
    pub widths: Vec<i64>,
    /// Residual blocks of each level on the way down; one more on the way up.
    pub num_blocks: usize,
    /// Heads of the self-attention at the lowest level; 0: no attention.
    pub num_heads: i64,
    /// Length of the vector that tells every block the noise level and the conditions. Even.
    pub embedding_dim: i64,
}

impl Default for UNetConfig {
    fn default() -> Self {
        Self { patch: 2, widths: vec![64, 128], num_blocks: 1, num_heads: 4, embedding_dim: 128 }
    }
}

impl UNetConfig {
    pub(crate) fn validate(&self, data: &DataSpec) -> Result<()> {
        let Self { patch, widths, num_blocks, num_heads, embedding_dim } = self;
        let invalid = |key: &str, value: String, rule: String| {
            Err(Error::invalid(format!("network.{key}"), value, rule))
        };
        if *patch < 1 {
            return invalid("patch", patch.to_string(), "must be at least 1".into());
        }
        if *num_blocks < 1 {
            return invalid("num_blocks", num_blocks.to_string(), "must be at least 1".into());
        }
        if *embedding_dim < 2 || embedding_dim % 2 != 0 {
            return invalid("embedding_dim", embedding_dim.to_string(), "must be even".into());
        }
        let Some(&lowest) = widths.last() else {
            return invalid("widths", "[]".into(), "must name at least one level".into());
        };
        if widths.iter().any(|width| *width < NUM_GROUPS || width % NUM_GROUPS != 0) {
            let rule = format!("must be multiples of {NUM_GROUPS}");
            return invalid("widths", format!("{widths:?}"), rule);
        }
        if *num_heads < 0 || (*num_heads > 0 && lowest % num_heads != 0) {
            let rule = format!("must be 0 or divide the last of network.widths ({lowest})");
            return invalid("num_heads", num_heads.to_string(), rule);
        }
        let (height, width) = (data.shape.height, data.shape.width);
        let Some(unit) =
            1i64.checked_shl(widths.len() as u32 - 1).and_then(|u| u.checked_mul(*patch))
        else {
            return invalid("widths", format!("{} levels", widths.len()), "must be fewer".into());
        };
        if height % patch != 0 || width % patch != 0 {
            let rule = format!("must divide the images' {height}x{width} pixels");
            return invalid("patch", patch.to_string(), rule);
        }
        if height % unit != 0 || width % unit != 0 {
            let rule = format!(
                "must be so few levels that network.patch * 2^(levels - 1) = {unit} divides the images' {height}x{width} pixels"
            );
            return invalid("widths", format!("{widths:?}"), rule);
        }
        Ok(())
    }
}

/// One resolution on the way down or up.
#[derive(Debug)]
struct Level {
    blocks: Vec<ResBlock>,
    /// After the blocks, for captioned data.
    words: Option<CrossAttention>,
    /// To the next level; none at the end of the way.
    resample: Option<nn::Conv2D>,
}

/// The denoising network.
#[derive(Debug)]
pub(crate) struct UNet {
    patch: i64,
    noise: NoiseEmbedding,
    condition: ConditionEmbedding,
    entrance: nn::Conv2D,
    /// For captioned data, beside the entrance: what the words say of every place, before anything is to be seen there. It begins
    /// as the places alone.
    placed: Option<(PlacedWords, nn::Conv2D)>,
    down: Vec<Level>,
    middle: (ResBlock, Option<SelfAttention>, ResBlock),
    up: Vec<Level>,
    norm: nn::GroupNorm,
    exit: nn::Conv2D,
}

impl UNet {
    /// A network from images of `in_channels` to images of `data.shape.channels`; its first output is zero.
    pub fn new(path: Path, config: &UNetConfig, data: &DataSpec, in_channels: i64) -> Self {
        let UNetConfig { patch, widths, num_blocks, num_heads, embedding_dim } = config;
        let (patch, embedding_dim) = (*patch, *embedding_dim);
        let folded = patch * patch;
        let last = widths.len() - 1;
        let captioned = data.text.is_some();
        let words =
            |here: &Path, width| captioned.then(|| CrossAttention::new(here / "words", width));
        let mut channels = widths[0];
        let mut skips = vec![channels]; // channels of what the way up will see again
        let mut down = Vec::new();
        for (level, &width) in widths.iter().enumerate() {
            let here = &path / "down" / level;
            let mut blocks = Vec::new();
            for i in 0..*num_blocks {
                blocks.push(ResBlock::new(&here / i, channels, width, embedding_dim));
                channels = width;
                skips.push(channels);
            }
            let words = words(&here, width);
            let resample = (level < last).then(|| {
                skips.push(channels);
                strided_conv(&here / "downsample", channels, channels, 3, 2)
            });
            down.push(Level { blocks, words, resample });
        }
        let middle = &path / "middle";
        let middle = (
            ResBlock::new(&middle / 0, channels, channels, embedding_dim),
            (*num_heads > 0)
                .then(|| SelfAttention::new(&middle / "attention", channels, *num_heads)),
            ResBlock::new(&middle / 1, channels, channels, embedding_dim),
        );
        let mut up = Vec::new();
        for (level, &width) in widths.iter().enumerate().rev() {
            let here = &path / "up" / level;
            let mut blocks = Vec::new();
            for i in 0..num_blocks + 1 {
                let skip = skips.pop().expect("as many skips as blocks on the way up");
                blocks.push(ResBlock::new(&here / i, channels + skip, width, embedding_dim));
                channels = width;
            }
            let words = words(&here, width);
            let resample = (level > 0).then(|| conv(&here / "upsample", channels, channels, 3));
            up.push(Level { blocks, words, resample });
        }
        Self {
            patch,
            noise: NoiseEmbedding::new(&path / "noise", embedding_dim),
            condition: ConditionEmbedding::new(&path / "condition", data, embedding_dim),
            entrance: conv(&path / "entrance", in_channels * folded, widths[0], 3),
            placed: captioned.then(|| {
                let path = &path / "placed";
                let out = conv(&path / "out", EncodedText::WIDTH, widths[0], 1);
                (PlacedWords::new(path, data.shape.height / patch, data.shape.width / patch), out)
            }),
            down,
            middle,
            up,
            norm: norm(&path / "norm", channels),
            exit: zero_conv(&path / "exit", channels, data.shape.channels * folded, 3),
        }
    }

    /// `x`: `[n, in_channels, h, w]`; `c_noise`: f32 `[n]`. Returns `[n, c, h, w]`, in bf16 under autocast.
    pub fn forward(&self, x: &Tensor, c_noise: &Tensor, conditions: &Conditions) -> Tensor {
        let condition = self.condition.forward(conditions);
        let embedding = (self.noise.forward(c_noise) + &condition.vector).silu();
        let read =
            |level: &Level, h: Tensor| match level.words.as_ref().zip(condition.text.as_ref()) {
                Some((words, text)) => words.forward(&h, text),
                None => h,
            };
        let mut h = space_to_depth(x, (self.patch, self.patch)).apply(&self.entrance);
        if let Some(((placed, out), text)) = self.placed.as_ref().zip(condition.text.as_ref()) {
            h += placed.forward(text).apply(out);
        }
        let mut skips = vec![h.shallow_clone()];
        for level in &self.down {
            for block in &level.blocks {
                h = block.forward(&h, &embedding);
                skips.push(h.shallow_clone());
            }
            h = read(level, h);
            if let Some(downsample) = &level.resample {
                h = h.apply(downsample);
                skips.push(h.shallow_clone());
            }
        }
        let (before, attention, after) = &self.middle;
        h = before.forward(&h, &embedding);
        if let Some(attention) = attention {
            h = attention.forward(&h);
        }
        h = after.forward(&h, &embedding);
        for level in &self.up {
            for block in &level.blocks {
                let skip = skips.pop().expect("as many skips as blocks on the way up");
                h = block.forward(&Tensor::cat(&[h, skip], 1), &embedding);
            }
            h = read(level, h);
            if let Some(upsample) = &level.resample {
                h = upsample2x(&h).apply(upsample);
            }
        }
        depth_to_space(&norm_silu(&h, &self.norm, None).apply(&self.exit), (self.patch, self.patch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{lock, spec};
    use tch::{Device, Kind, nn::VarStore};

    fn build(config: &UNetConfig, data: &DataSpec) -> (VarStore, UNet) {
        let vars = VarStore::new(Device::Cpu);
        let net = UNet::new(vars.root(), config, data, data.shape.channels);
        (vars, net)
    }

    #[test]
    fn has_the_measured_size_and_starts_at_zero() {
        let _lock = lock();
        let data = spec(1, 28, 28);
        let (vars, net) = build(&UNetConfig::default(), &data);
        let num_parameters: usize = vars.trainable_variables().iter().map(Tensor::numel).sum();
        assert_eq!(num_parameters, 2_550_660);
        let x = Tensor::randn([2, 1, 28, 28], (Kind::Float, Device::Cpu));
        let conditions = Conditions::none(2, &data, Device::Cpu);
        let y = net.forward(&x, &Tensor::zeros([2], (Kind::Float, Device::Cpu)), &conditions);
        assert_eq!(y.size(), x.size());
        assert_eq!(y.abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn fits_the_sizes_of_the_data_sets() {
        let _lock = lock();
        for (channels, height, width, patch, widths) in [
            (3, 16, 16, 2, vec![16, 24]),
            (3, 32, 32, 2, vec![8, 16, 16]),
            (1, 28, 28, 1, vec![8, 8, 8]),
            (3, 12, 20, 4, vec![8]),
        ] {
            let data = spec(channels, height, width);
            let config = UNetConfig { patch, widths, num_heads: 2, ..UNetConfig::default() };
            config.validate(&data).unwrap();
            let (_vars, net) = build(&config, &data);
            let x = Tensor::randn(data.shape.batch(2), (Kind::Float, Device::Cpu));
            let c_noise = Tensor::zeros([2], (Kind::Float, Device::Cpu));
            let conditions = Conditions::none(2, &data, Device::Cpu);
            assert_eq!(net.forward(&x, &c_noise, &conditions).size(), x.size());
        }
    }

    #[test]
    fn what_cannot_be_built_is_an_error_naming_the_key() {
        let message = |config: UNetConfig, height| {
            config.validate(&spec(1, height, 28)).unwrap_err().to_string()
        };
        let default = UNetConfig::default;
        assert_eq!(
            message(default(), 30),
            "network.widths is [64, 128], but must be so few levels that network.patch * 2^(levels - 1) = 4 \
             divides the images' 30x28 pixels"
        );
        assert_eq!(
            message(default(), 27),
            "network.patch is 2, but must divide the images' 27x28 pixels"
        );
        assert_eq!(
            message(UNetConfig { widths: vec![64, 100], ..default() }, 28),
            "network.widths is [64, 100], but must be multiples of 8"
        );
        assert_eq!(
            message(UNetConfig { num_heads: 3, ..default() }, 28),
            "network.num_heads is 3, but must be 0 or divide the last of network.widths (128)"
        );
    }
}
