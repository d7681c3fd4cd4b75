//! The network that turns a latent and a condition into an image.

use crate::{
    GeneratorConfig,
    blocks::{self, RELU_GAIN, ResidualBlock, leaky_relu},
};
use paragone_core::{Conditions, DataSpec, Known, Noise};
use paragone_nn::{
    ConditionEmbedding, CrossAttention, EmbeddedConditions, KnownPixels, channels_last,
    depth_to_space,
};
use tch::{
    Device, Kind, Tensor,
    nn::{self, Path},
};

/// A residual upsampling network without normalization.
#[derive(Debug)]
pub struct GeneratorNet {
    latent_dim: i64,
    /// `[channels, height, width]` of the coarsest resolution.
    base_dims: [i64; 3],
    condition: ConditionEmbedding,
    mapping: Option<[nn::Linear; 2]>,
    base: nn::Linear,
    /// Coarse to fine.
    resolutions: Vec<Resolution>,
    image: nn::Conv2D,
    patch: i64,
    /// Height and width of each noise map, in the order of use; none without pixel noise.
    noise_sizes: Vec<[i64; 2]>,
}

#[derive(Debug)]
struct Resolution {
    blocks: Vec<ResidualBlock>,
    /// After the blocks, for captioned data.
    words: Option<CrossAttention>,
    /// Before the blocks, for a model that is shown known pixels.
    known: Option<KnownPixels>,
    /// The way up; none at the last.
    up: Option<nn::Conv2D>,
}

/// What the generator leaves to chance.
#[derive(Debug)]
pub struct Draw {
    /// Standard normal, `[n, latent_dim]`.
    pub z: Tensor,
    /// Standard normal noise maps, each `[n, 1, h, w]`; none: zero everywhere.
    pub pixels: Vec<Tensor>,
}

impl Draw {
    /// A latent, `[n, latent_dim]`, and no noise beside it.
    pub fn without_pixel_noise(z: &Tensor) -> Self {
        Self { z: z.shallow_clone(), pixels: Vec::new() }
    }
}

impl GeneratorNet {
    pub fn new(path: &Path, config: &GeneratorConfig, latent_dim: i64, data: &DataSpec) -> Self {
        let patch = config.patch;
        let factor = patch << (config.widths.len() - 1);
        let [channels, height, width] = data.shape.dims();
        let base_dims = [config.widths[0], height / factor, width / factor];
        let inputs = 2 * latent_dim;
        let style_dim = config.style_dim;
        let mapping = (style_dim > 0).then(|| {
            let first = blocks::linear(path / "mapping" / 0, inputs, style_dim, 1.0);
            [first, blocks::linear(path / "mapping" / 1, style_dim, style_dim, RELU_GAIN)]
        });
        let resolutions = config.widths.iter().zip(&config.blocks).enumerate();
        let resolutions = resolutions.map(|(i, (&width, &number))| {
            let path = path / "resolutions" / i;
            let block = |j| ResidualBlock::new(&(&path / j), width, style_dim, config.pixel_noise);
            let next = config.widths.get(i + 1);
            let up = next.map(|&next| blocks::up_conv(&(&path / "up"), width, next));
            let captioned = data.text.is_some();
            let words = captioned.then(|| CrossAttention::new(&path / "words", width));
            let size = [base_dims[1] << i, base_dims[2] << i];
            let shown = data.known_pixels;
            let known = shown.then(|| KnownPixels::new(&path / "known", data, size, width));
            Resolution { blocks: (0..number).map(block).collect(), words, known, up }
        });
        let noise_sizes = config.blocks.iter().enumerate().flat_map(|(i, &number)| {
            std::iter::repeat_n([base_dims[1] << i, base_dims[2] << i], number as usize)
        });
        let finest = *config.widths.last().expect("validated: at least one resolution");
        Self {
            latent_dim,
            base_dims,
            condition: ConditionEmbedding::new(path / "condition", data, latent_dim),
            mapping,
            base: blocks::linear(path / "base", inputs, base_dims.iter().product(), 1.0),
            resolutions: resolutions.collect(),
            image: blocks::conv(path / "image", finest, channels * patch * patch, 3, 1.0),
            patch,
            noise_sizes: if config.pixel_noise { noise_sizes.collect() } else { Vec::new() },
        }
    }

    /// Images f32 `[n, c, h, w]` in [-1, 1], as they are shown.
    pub fn images(&self, draw: &Draw, conditions: &Conditions) -> Tensor {
        self.forward(draw, conditions).clamp(-1.0, 1.0)
    }

    /// Images f32 `[n, c, h, w]` as the discriminator sees them: bounded by nothing but its verdict. A tanh would have to be
    /// driven far into saturation by a black background, and no gradient leads back from there.
    pub fn forward(&self, draw: &Draw, conditions: &Conditions) -> Tensor {
        self.forward_embedded(draw, &self.embed(conditions), conditions.known.as_ref())
    }

    /// Classes and captions as the generator knows them: whoever shows many latents under the same ones reads these once.
    pub fn embed(&self, conditions: &Conditions) -> EmbeddedConditions {
        self.condition.forward(conditions)
    }

    /// [`GeneratorNet::forward`] under embedded conditions and known pixels.
    pub fn forward_embedded(
        &self,
        draw: &Draw,
        condition: &EmbeddedConditions,
        shown: Option<&Known>,
    ) -> Tensor {
        let vector = condition.vector.to_kind(draw.z.kind());
        let inputs = Tensor::cat(&[&draw.z, &vector], 1); // [n, 2 latent_dim]
        let style = self.mapping.as_ref().map(|[first, second]| {
            leaky_relu(&leaky_relu(&inputs.apply(first)).apply(second)) // [n, style_dim]
        });
        let [channels, height, width] = self.base_dims;
        let mut x = channels_last(&inputs.apply(&self.base).view([-1, channels, height, width]));
        let mut noise = draw.pixels.iter();
        for Resolution { blocks, words, known, up } in &self.resolutions {
            if let Some((pixels, known)) = known.as_ref().zip(shown) {
                x = &x + pixels.forward(known);
            }
            for block in blocks {
                x = block.forward(&x, style.as_ref(), noise.next());
            }
            if let Some((words, text)) = words.as_ref().zip(condition.text.as_ref()) {
                x = words.forward(&x, text);
            }
            if let Some(up) = up {
                x = blocks::upsample(up, &x);
            }
        }
        let image = leaky_relu(&x).apply(&self.image);
        depth_to_space(&image, (self.patch, self.patch)).to_kind(draw.z.kind())
    }

    /// Chance from libtorch's global generator, for training.
    pub fn draw(&self, n: i64, device: Device) -> Draw {
        let options = (Kind::Float, device);
        let map = |[h, w]: &[i64; 2]| Tensor::randn([n, 1, *h, *w], options);
        Draw {
            z: Tensor::randn([n, self.latent_dim], options),
            pixels: self.noise_sizes.iter().map(map).collect(),
        }
    }

    /// Chance from the noise of the images, scaled by `temperature`: draw 0 is z, draw 1 + i the map of block i.
    pub fn draw_from(&self, noise: &Noise, temperature: f64) -> Draw {
        Draw {
            z: noise.normal(0, &[self.latent_dim]) * temperature,
            pixels: self.pixels_from(noise, temperature),
        }
    }

    /// The noise maps alone, scaled by `temperature`.
    pub fn pixels_from(&self, noise: &Noise, temperature: f64) -> Vec<Tensor> {
        let maps = self.noise_sizes.iter().zip(1..);
        maps.map(|([h, w], draw)| noise.normal(draw, &[1, *h, *w]) * temperature).collect()
    }
}
