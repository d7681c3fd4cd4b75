use crate::{
    config::{Level, VaeConfig},
    gaussian::Gaussian,
    group::Group,
    layers::{Conv, ResBlock},
};
use paragone_core::{Conditions, DataSpec, Result};
use paragone_nn::{
    ConditionEmbedding, CrossAttention, EmbeddedConditions, KnownPixels, channels_last, conv,
    depth_to_space, linear, pixel::PixelHead, space_to_depth,
};
use tch::{
    Kind, Tensor,
    nn::{self, Path},
};
use torch_ext::Autocast;

/// Channels that a pixel's distribution is read from.
const HEAD_WIDTH: i64 = 64;

/// The network: an encoder that goes up from the image, and a decoder that comes down through the stochastic groups.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// From the top down.
    levels: Vec<LadderLevel>,
    condition: ConditionEmbedding,
    /// f32 `[1, channels, h, w]` of the top level: where the decoder begins.
    start: Tensor,
    stem: nn::Conv2D,
    head: Head,
    patch: (i64, i64),
    /// Mean and standard deviation of the data's pixels.
    data: (f64, f64),
}

/// What the ladder has at one resolution.
#[derive(Debug)]
struct LadderLevel {
    spec: Level,
    encoder: Vec<ResBlock>,
    condition: nn::Linear,
    /// For captioned data.
    words: Option<CrossAttention>,
    /// For a model that is shown known pixels.
    known: Option<KnownPixels>,
    groups: Vec<Group>,
    /// The decoder's blocks of a level without groups.
    blocks: Vec<ResBlock>,
    /// To and from the level above; the top level has none.
    above: Option<Between>,
}

/// The way between a level and the coarser one above it.
#[derive(Debug)]
struct Between {
    up: Conv,
    down: Conv,
    /// Positions of the finer level for each of the coarser one, in height and width.
    factor: (i64, i64),
}

#[derive(Debug)]
struct Head {
    expand: nn::Conv2D,
    out: nn::Conv2D,
    pixels: PixelHead,
}

/// Conditions as the decoder sees them.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Class and text, the vector f32 `[n, condition_dim]`.
    embedded: EmbeddedConditions,
    /// What known pixels say at each level, f32 `[n, channels, h, w]`; empty for a model that is shown none.
    known: Vec<Tensor>,
}

/// Where the decoder asks for the latents of one group.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Number of the group, from the top down.
    pub(crate) group: usize,
    pub(crate) prior: Gaussian,
    /// Present when the encoder has seen images.
    pub(crate) posterior: Option<Gaussian>,
}

impl Ladder {
    /// Creates the parameters of a ladder that ends in those of `pixels`. `config` has been validated.
    pub(crate) fn new(
        path: &Path,
        config: &VaeConfig,
        data: &DataSpec,
        pixels: &PixelHead,
    ) -> Result<Self> {
        let specs = config.levels(data)?;
        let patch = (config.patch_size, config.patch_size);
        let num_branches: i64 = specs.iter().map(|l| l.groups.len().max(1) as i64).sum();
        let gain = 1.0 / ((num_branches * config.blocks) as f64).sqrt();
        let top = &specs[0];
        let start = path.zeros("start", &[1, top.channels, top.height, top.width]);
        let finest = specs.last().expect("a ladder has a level").channels;
        let stem_inputs = data.shape.channels * config.patch_size * config.patch_size;
        let stem = conv(path / "stem", stem_inputs, finest, 3);
        let head = Head {
            expand: conv(path / "head" / "expand", finest, HEAD_WIDTH * patch.0 * patch.1, 1),
            out: conv(path / "head" / "out", HEAD_WIDTH, pixels.num_parameters(), 1),
            pixels: pixels.shallow_clone(),
        };
        let condition = ConditionEmbedding::new(path / "condition", data, config.condition_dim);
        let mut levels: Vec<LadderLevel> = Vec::new();
        for (i, spec) in specs.into_iter().enumerate() {
            let above = levels.last().map(|level| &level.spec);
            let path = path / "levels" / i;
            levels.push(LadderLevel::new(&path, spec, above, config, data, gain));
        }
        Ok(Self { levels, condition, start, stem, head, patch, data: (data.mean, data.std) })
    }

    /// Shape `[channels, h, w]` of the latents of every group, from the top down.
    pub(crate) fn latent_shapes(&self) -> Vec<[i64; 3]> {
        let shapes = self.levels.iter().flat_map(|level| {
            let (height, width) = (level.spec.height, level.spec.width);
            level.groups.iter().map(move |group| [group.latents, height, width])
        });
        shapes.collect()
    }

    /// The conditions as the decoder sees them.
    pub(crate) fn embed(&self, conditions: &Conditions) -> Asked {
        let known = conditions.known.as_ref();
        let known =
            self.levels.iter().filter_map(|level| Some(level.known.as_ref()?.forward(known?)));
        Asked { embedded: self.condition.forward(conditions), known: known.collect() }
    }

    /// The encoder's features of each level, from the top down. `images`: f32 `[n, c, h, w]` in [-1, 1].
    pub(crate) fn encode(&self, images: &Tensor) -> Vec<Tensor> {
        let (mean, std) = self.data;
        let x = (images - mean) / std.max(1e-3);
        let mut h = space_to_depth(&x, self.patch).apply(&self.stem);
        let mut features = Vec::with_capacity(self.levels.len());
        for level in self.levels.iter().rev() {
            h = level.encoder.iter().fold(h, |h, block| block.forward(&h));
            features.push(h.shallow_clone());
            if let Some(above) = &level.above {
                h = space_to_depth(&h, above.factor).apply(&above.up);
            }
        }
        features.reverse();
        features
    }

    /// Comes down the ladder with the latents that `choose` names for each group, f32 `[n, channels, h, w]`.
    ///
    /// `asked`: from [`Ladder::embed`]; `features`: from [`Ladder::encode`], if there are images. Returns the parameters of
    /// the pixels' distributions, f32 `[n, p, h, w]`.
    pub(crate) fn decode(
        &self,
        asked: &Asked,
        features: Option<&[Tensor]>,
        choose: &mut dyn FnMut(Choice) -> Tensor,
    ) -> Tensor {
        let condition = &asked.embedded;
        let n = condition.vector.size()[0];
        let mut h = channels_last(&self.start).expand([n, -1, -1, -1], false);
        let mut group_number = 0;
        for (i, level) in self.levels.iter().enumerate() {
            if let Some(above) = &level.above {
                h = depth_to_space(&h.apply(&above.down), above.factor);
            }
            h = &h + condition.vector.apply(&level.condition).unsqueeze(-1).unsqueeze(-1);
            if let Some((words, text)) = level.words.as_ref().zip(condition.text.as_ref()) {
                h = words.forward(&h, text);
            }
            if let Some(known) = asked.known.get(i) {
                h = &h + known;
            }
            for group in &level.groups {
                h = group.forward(&h, features.map(|f| &f[i]), |prior, posterior| {
                    choose(Choice { group: group_number, prior, posterior })
                });
                group_number += 1;
            }
            h = level.blocks.iter().fold(h, |h, block| block.forward(&h));
        }
        self.head.forward(&h, self.patch)
    }
}

impl LadderLevel {
    fn new(
        path: &Path,
        spec: Level,
        above: Option<&Level>,
        config: &VaeConfig,
        data: &DataSpec,
        gain: f64,
    ) -> Self {
        let channels = spec.channels;
        let kernel = if spec.height * spec.width == 1 { 1 } else { 3 };
        let blocks = |path: Path, num_blocks: i64| -> Vec<ResBlock> {
            (0..num_blocks).map(|i| ResBlock::new(&path / i, channels, kernel, gain)).collect()
        };
        let groups = spec.groups.iter().enumerate();
        let groups = groups
            .map(|(i, &latents)| {
                let path = path / "groups" / i;
                let blocks = blocks(&path / "blocks", config.blocks);
                Group::new(&path, latents, channels, kernel, gain, blocks)
            })
            .collect();
        let num_blocks = if spec.groups.is_empty() { config.blocks } else { 0 };
        let above = above.map(|above| {
            let factor = (spec.height / above.height, spec.width / above.width);
            let positions = factor.0 * factor.1;
            Between {
                up: Conv::new(path / "up", channels * positions, above.channels, 1),
                down: Conv::new(path / "down", above.channels, channels * positions, 1),
                factor,
            }
        });
        Self {
            encoder: blocks(path / "encoder", config.blocks),
            condition: linear(path / "condition", config.condition_dim, channels),
            words: data.text.is_some().then(|| CrossAttention::new(path / "words", channels)),
            known: data.known_pixels.then(|| {
                KnownPixels::new(path / "known", data, [spec.height, spec.width], channels)
            }),
            blocks: blocks(path / "blocks", num_blocks),
            groups,
            above,
            spec,
        }
    }
}

impl Head {
    /// Features of the finest level to `[n, p, h, w]` over pixels.
    ///
    /// A logistic component can be narrower than bf16's spacing of means (1/256 below 1, as wide as half a level), so a mixture
    /// is put out in f32, also under autocast; the logits of a softmax, a far larger layer, need no such care.
    fn forward(&self, h: &Tensor, patch: (i64, i64)) -> Tensor {
        let pixels = depth_to_space(&h.silu().apply(&self.expand), patch).silu();
        if !self.pixels.is_precise() {
            return pixels.apply(&self.out);
        }
        // Devices that cannot be told to leave autocast have none.
        let _off = Autocast::enter(h.device(), None).ok();
        pixels.to_kind(Kind::Float).apply(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Vae,
        fixtures::{build, data, flat, seeded, twins},
    };
    use paragone_core::{Family, Generator, StepContext};
    use paragone_nn::pixel::PixelLikelihood;

    fn shapes() -> [(VaeConfig, DataSpec); 6] {
        let patches = VaeConfig { patch_size: 2, blocks: 2, ..Vae::tiny() };
        [
            (Vae::tiny(), data(1, 8, 8)),
            (flat(5), data(1, 8, 8)),
            (Vae::tiny(), data(3, 8, 12)),
            (VaeConfig { likelihood: PixelLikelihood::Softmax256, ..Vae::tiny() }, data(3, 8, 8)),
            (patches, data(3, 16, 8)),
            (VaeConfig::default(), data(1, 28, 28)),
        ]
    }

    #[test]
    fn latents_and_pixels_have_their_shapes() {
        let _turn = seeded();
        for (config, data) in shapes() {
            let (_vars, model) = build(&config, &data);
            let batch = twins(2, &data);
            let condition = model.ladder.embed(&batch.conditions);
            let mut got = Vec::new();
            let features = model.ladder.encode(&batch.images);
            let params = model.ladder.decode(&condition, Some(&features), &mut |choice| {
                assert_eq!(choice.group, got.len());
                let posterior = choice.posterior.unwrap();
                assert_eq!(posterior.mean.size(), choice.prior.mean.size());
                got.push(<[i64; 3]>::try_from(&posterior.mean.size()[1..]).unwrap());
                posterior.mean
            });
            assert_eq!(got, model.ladder.latent_shapes());
            let (p, shape) = (model.head.num_parameters(), data.shape);
            assert_eq!(params.size(), [2, p, shape.height, shape.width]);
        }
    }

    #[test]
    fn every_parameter_gets_a_gradient_and_the_buffer_none() {
        let _turn = seeded();
        for (config, data) in shapes() {
            let (vars, model) = build(&config, &data);
            let context = StepContext { step: 9, images: 9, progress: 0.5 };
            let loss = model.loss(&model.phases()[0], &twins(4, &data), &context).unwrap();
            loss.total.backward();
            for (name, parameter) in vars.variables() {
                assert!(name.starts_with("net."), "{name} is in no phase");
                if name == "net.rate" {
                    assert!(!parameter.requires_grad());
                    continue;
                }
                let gradient = parameter.grad();
                assert!(gradient.defined(), "{name} has no gradient");
                let largest = gradient.abs().max().double_value(&[]);
                assert!(largest > 0.0 && largest.is_finite(), "{name}'s gradient is {largest}");
            }
        }
    }

    /// Under autocast a mixture's parameters come out in f32, its means between bf16's numbers; a softmax's logits as bf16.
    #[test]
    fn a_mixture_is_put_out_in_full_precision() {
        let _turn = seeded();
        for (channels, precise) in [(1, false), (3, true)] {
            let data = data(channels, 8, 8);
            let (_vars, model) = build(&Vae::tiny(), &data);
            let condition = model.ladder.embed(&twins(2, &data).conditions);
            let _autocast = Autocast::enter(tch::Device::Cpu, Some(Kind::BFloat16)).unwrap();
            let params = model.ladder.decode(&condition, None, &mut |choice| choice.prior.mean);
            assert_eq!(params.kind(), if precise { Kind::Float } else { Kind::BFloat16 });
            let rounded = params.to_kind(Kind::BFloat16).to_kind(Kind::Float);
            assert_eq!(rounded.equal(&params), !precise);
        }
    }
}
