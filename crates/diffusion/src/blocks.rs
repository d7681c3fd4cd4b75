//! What the U-Net is made of: residual blocks told the noise level, self-attention, and the embedding of the noise level.

use paragone_nn::{attend, conv, join_heads, linear, split_heads, zero_conv};
use std::f64::consts::TAU;
use tch::{
    Kind, Tensor,
    nn::{self, Path},
};

/// Groups of every group normalisation (Wu & He 2018); all widths are multiples of it.
pub(crate) const NUM_GROUPS: i64 = 8;

/// Two convolutions beside a shortcut; the embedding scales and shifts between them (FiLM, Perez et al. 2018).
#[derive(Debug)]
pub(crate) struct ResBlock {
    norm1: nn::GroupNorm,
    conv1: nn::Conv2D,
    film: nn::Linear,
    norm2: nn::GroupNorm,
    conv2: nn::Conv2D,
    shortcut: Option<nn::Conv2D>,
}

impl ResBlock {
    pub fn new(path: Path, in_channels: i64, out_channels: i64, embedding_dim: i64) -> Self {
        Self {
            norm1: norm(&path / "norm1", in_channels),
            conv1: conv(&path / "conv1", in_channels, out_channels, 3),
            film: linear(&path / "film", embedding_dim, 2 * out_channels),
            norm2: norm(&path / "norm2", out_channels),
            conv2: zero_conv(&path / "conv2", out_channels, out_channels, 3),
            shortcut: (in_channels != out_channels)
                .then(|| conv(&path / "shortcut", in_channels, out_channels, 1)),
        }
    }

    /// `x`: `[n, in, h, w]`; `embedding`: `[n, embedding_dim]`. Returns `[n, out, h, w]`.
    pub fn forward(&self, x: &Tensor, embedding: &Tensor) -> Tensor {
        let h = norm_silu(x, &self.norm1, None).apply(&self.conv1);
        let film = embedding.apply(&self.film);
        // The sum in place: what it goes into is new, and no gradient needs it as it was.
        let mut h = norm_silu(&h, &self.norm2, Some(&film)).apply(&self.conv2);
        match &self.shortcut {
            None => h.g_add_(x),
            Some(shortcut) => h.g_add_(&x.apply(shortcut)),
        }
    }
}

/// Self-attention over all positions of a feature map, beside a shortcut.
#[derive(Debug)]
pub(crate) struct SelfAttention {
    norm: nn::GroupNorm,
    qkv: nn::Conv2D,
    out: nn::Conv2D,
    num_heads: i64,
}

impl SelfAttention {
    pub fn new(path: Path, channels: i64, num_heads: i64) -> Self {
        Self {
            norm: norm(&path / "norm", channels),
            qkv: conv(&path / "qkv", channels, 3 * channels, 1),
            out: zero_conv(&path / "out", channels, channels, 1),
            num_heads,
        }
    }

    /// `x`: `[n, c, h, w]`, as is the result.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (_, _, h, w) = x.size4().expect("feature maps have four dimensions");
        let qkv = x.apply(&self.norm).apply(&self.qkv).chunk(3, 1);
        let [q, k, v] = [0, 1, 2].map(|i| split_heads(&qkv[i], self.num_heads));
        let mixed = attend(&q, &k, &v, None);
        x + join_heads(&mixed, (h, w)).apply(&self.out)
    }
}

/// Random Fourier features of the noise level (Tancik et al. 2020) through a linear layer.
#[derive(Debug)]
pub(crate) struct NoiseEmbedding {
    /// f32 `[dim / 2]`, fixed.
    frequencies: Tensor,
    linear1: nn::Linear,
    linear2: nn::Linear,
}

impl NoiseEmbedding {
    pub fn new(path: Path, dim: i64) -> Self {
        let frequencies = Tensor::randn([dim / 2], (Kind::Float, path.device())) * 2.0;
        Self {
            frequencies: path.add("frequencies", frequencies, false),
            linear1: linear(&path / "linear1", dim, dim),
            linear2: linear(&path / "linear2", dim, dim),
        }
    }

    /// `c_noise`: f32 `[n]`. Returns `[n, dim]`.
    pub fn forward(&self, c_noise: &Tensor) -> Tensor {
        let angles = c_noise.unsqueeze(1) * &self.frequencies * TAU;
        let features = Tensor::cat(&[angles.cos(), angles.sin()], 1);
        features.apply(&self.linear1).silu().apply(&self.linear2)
    }
}

/// SiLU of the normalised features, scaled and shifted by `film` `[n, 2c]`.
///
/// # Panics
/// If the shapes do not fit together.
pub(crate) fn norm_silu(x: &Tensor, norm: &nn::GroupNorm, film: Option<&Tensor>) -> Tensor {
    torch_ext::norm_silu(x, norm, film).expect("a layer's features have its channels")
}

pub(crate) fn norm(path: Path, channels: i64) -> nn::GroupNorm {
    nn::group_norm(path, NUM_GROUPS, channels, nn::GroupNormConfig::default())
}
