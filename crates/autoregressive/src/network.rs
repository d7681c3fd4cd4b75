//! The two-stack network: images in, parameters of every pixel's distribution out.

use crate::{
    AutoregressiveConfig,
    layer::{Causal, GateBias, GatedLayer, Kernel, causal_conv},
};
use paragone_core::{Conditions, DataSpec};
use paragone_nn::{
    ConditionEmbedding, EncodedText, KnownPixels, PlacedWords, channels_last, conv,
    pixel::PixelHead, zero_conv,
};
use tch::{
    Device, Kind, Tensor,
    nn::{self, Conv2D, Init, Linear, Module, Path},
};
use torch_ext::Autocast;

/// A gated PixelCNN.
#[derive(Debug)]
pub(crate) struct Network {
    /// From image rows strictly above.
    pub(crate) first_vertical: Conv2D,
    /// From pixels strictly left in the own row.
    pub(crate) first_horizontal: Conv2D,
    /// What the vertical stack tells the horizontal one at first.
    pub(crate) first_across: Conv2D,
    /// Where in the image a pixel is: `[2, c, h, w]`, for the vertical and for the horizontal stack.
    pub(crate) position: Tensor,
    pub(crate) layers: Vec<GatedLayer>,
    /// c to `head_channels`.
    pub(crate) head_in: Conv2D,
    /// `head_channels` to the parameters of the pixel's distribution.
    pub(crate) head_out: Conv2D,
    pub(crate) pixel: PixelHead,
    condition: ConditionEmbedding,
    /// From the condition to all gates of all layers.
    gates: Linear,
    /// For captioned data; from what the words say of every place to all gates of all layers.
    words: Option<(PlacedWords, Conv2D)>,
    /// From known pixels to all gates of all layers, where they are shown: every pixel sees all of them.
    known: Option<KnownPixels>,
    dropout: f64,
    /// Waves of each pixel value that the first layer sees.
    pub(crate) num_frequencies: i64,
    /// Rows above and pixels to the left that the first layer sees.
    pub(crate) first_reach: i64,
}

impl Network {
    pub(crate) fn new(config: &AutoregressiveConfig, data: &DataSpec, path: &Path) -> Self {
        let pixel = PixelHead::new(path / "pixel", config.likelihood, data.shape.channels);
        let c = config.num_channels;
        let reach = config.first_kernel / 2;
        let inputs = data.shape.channels * (1 + 2 * config.num_frequencies) + 1;
        let layers = (0..config.num_layers).map(|i| {
            let kernel = Kernel {
                rows: config.kernel_rows,
                columns: config.kernel_columns,
                dilation: config.dilation(i),
            };
            let last = i + 1 == config.num_layers;
            GatedLayer::new(&(path / "layers" / i), c, kernel, config.gate, last)
        });
        // Zero at first: the network begins unconditional, and every class learns from all images.
        let zero = nn::LinearConfig {
            ws_init: Init::Const(0.0),
            bs_init: Some(Init::Const(0.0)),
            bias: true,
        };
        let (height, width) = (data.shape.height, data.shape.width);
        let num_gates = config.num_layers * 4 * c;
        Self {
            first_vertical: {
                let causal = Causal { beside: reach, ..Causal::default() };
                let kernel = [reach, config.first_kernel];
                causal_conv(&(path / "first_vertical"), inputs, c, kernel, causal)
            },
            first_horizontal: {
                let causal = Causal { bias: false, ..Causal::default() };
                causal_conv(&(path / "first_horizontal"), inputs, c, [1, reach], causal)
            },
            first_across: conv(path / "first_across", c, c, 1),
            position: path.var("position", &[2, c, height, width], Init::Const(0.0)),
            layers: layers.collect(),
            head_in: conv(path / "head_in", c, config.head_channels, 1),
            head_out: conv(path / "head_out", config.head_channels, pixel.num_parameters(), 1),
            pixel,
            condition: ConditionEmbedding::new(path / "condition", data, c),
            gates: nn::linear(path / "gates", c, num_gates, zero),
            words: data.text.is_some().then(|| {
                let path = path / "words";
                let gates = zero_conv(&path / "gates", EncodedText::WIDTH, num_gates, 1);
                (PlacedWords::new(path, height, width), gates)
            }),
            known: data
                .known_pixels
                .then(|| KnownPixels::new(path / "known", data, [height, width], num_gates)),
            dropout: config.dropout,
            num_frequencies: config.num_frequencies,
            first_reach: reach,
        }
    }

    /// Parameters of every pixel's distribution given the pixels before it in raster order, `[n, p, h, w]`.
    ///
    /// `images`: f32 `[n, c, h, w]` in [-1, 1], on the grid of 256 levels. Under autocast a softmax's logits come in bf16.
    pub(crate) fn forward(&self, images: &Tensor, conditions: &Conditions, train: bool) -> Tensor {
        // From here on channels last, as pointwise convolutions and gates are quickest.
        let x = channels_last(&pixel_features(&images.to_kind(self.kind()), self.num_frequencies));
        let reach = self.first_reach;
        let [.., height, width] = x.size()[..] else { panic!("images are [n, c, h, w]") };
        let above = x.narrow(2, 0, height - 1).constant_pad_nd([0, 0, reach, 0]);
        let left = x.narrow(3, 0, width - 1).constant_pad_nd([reach, 0, 0, 0]);
        let v = self.first_vertical.forward(&above);
        // Under autocast the stacks stay in bf16.
        let position = self.position.to_kind(v.kind());
        let v = v + position.get(0);
        let h = self.first_horizontal.forward(&left) + self.first_across.forward(&v);
        let h = h + position.get(1);
        let dropout = if train { self.dropout } else { 0.0 };
        let biases = self.gate_biases(conditions);
        let (_, h) = self
            .layers
            .iter()
            .zip(&biases)
            .fold((v, h), |(v, h), (layer, bias)| layer.forward(v, h, bias, dropout));
        let hidden = self.head_in.forward(&h.relu()).relu();
        if !self.pixel.is_precise() {
            return self.head_out.forward(&hidden);
        }
        // A mixture's means need more than bf16, whose numbers near 1 are as far apart as levels; the logits of a softmax,
        // a larger layer, do not. Devices that cannot be told to leave autocast have none.
        let _off = Autocast::enter(h.device(), None).ok();
        self.head_out.forward(&hidden.to_kind(self.kind()))
    }

    /// What the conditions add to the gates of each layer.
    fn gate_biases(&self, conditions: &Conditions) -> Vec<GateBias> {
        let (everywhere, places) = self.gate_sources(conditions);
        let add = |sum, (features, gates): (Tensor, &Conv2D)| features.apply(gates).g_add_(&sum);
        GateBias::of_layers(&places.into_iter().fold(everywhere, add), self.layers.len())
    }

    /// What the conditions' part of all gates is the sum of: `[n, gates, 1, 1]`, the same everywhere, and features of every place
    /// `[n, f, h, w]`, each with the pointwise layer from them to the gates.
    pub(crate) fn gate_sources(&self, conditions: &Conditions) -> (Tensor, Vec<(Tensor, &Conv2D)>) {
        let condition = self.condition.forward(conditions);
        let everywhere = condition.vector.apply(&self.gates).unsqueeze(-1).unsqueeze(-1);
        let words = self.words.as_ref().zip(condition.text.as_ref());
        let words = words.map(|((words, gates), text)| (words.forward(text), gates));
        let known = self.known.as_ref().zip(conditions.known.as_ref());
        let known = known.map(|(pixels, known)| (pixels.hidden(known), pixels.out()));
        (everywhere, words.into_iter().chain(known).collect())
    }

    /// Kind of the parameters.
    pub(crate) fn kind(&self) -> Kind {
        self.position.kind()
    }

    /// Where the parameters are.
    pub(crate) fn device(&self) -> Device {
        self.position.device()
    }
}

/// What the first layer sees of pixels: their values, sines and cosines of them at doubling frequencies, and a one that
/// tells pixels from the padding.
///
/// A network learns functions that differ from one level to the next slowly from the values alone, and quickly from such
/// waves (Tancik et al. 2020). `values`: `[n, c, ..]` in [-1, 1]. Returns `[n, num_features, ..]`.
pub(crate) fn pixel_features(values: &Tensor, num_frequencies: i64) -> Tensor {
    let mut features = vec![values.shallow_clone()];
    for k in 0..num_frequencies {
        let angle = values * (std::f64::consts::PI * 2f64.powi(k as i32));
        features.extend([angle.sin(), angle.cos()]);
    }
    features.push(values.narrow(1, 0, 1).ones_like());
    Tensor::cat(&features, 1)
}
