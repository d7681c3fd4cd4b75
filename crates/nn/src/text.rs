//! A small transformer that reads captions (Vaswani et al. 2017; normalized before each part, Xiong et al. 2020), and
//! attention of feature maps to what it read.

use crate::{
    attention::{attend, join_heads, split_heads},
    layers::linear,
    pytorch_init,
};
use paragone_core::TextSpec;
use std::borrow::Borrow;
use tch::{
    Kind, Tensor,
    nn::{self, Init, Path},
};

/// Numbers that the encoder keeps of every token.
const WIDTH: i64 = 64;
/// Attention heads.
const HEADS: i64 = 4;
/// Blocks.
const DEPTH: usize = 2;
/// Words that are read as one, before attention: enough to reach from what is left to what is right of it, so that who is where does
/// not wait for attention to find out. (With 3, the test of few captions fails.)
const PHRASE: i64 = 7;

/// Reads captions.
///
/// Before a caption's tokens stands a summary, which a caption of nothing but padding ("no caption") has alone: so that is a
/// caption like any other.
#[derive(Debug)]
pub struct TextEncoder {
    /// f32 `[vocab_size, WIDTH]`.
    tokens: Tensor,
    /// f32 `[1 + max_tokens, WIDTH]`; the first is the summary's.
    positions: Tensor,
    phrases: nn::Conv1D,
    blocks: Vec<Block>,
    norm: nn::LayerNorm,
}

/// Captions as they were read.
#[derive(Debug)]
pub struct EncodedText {
    /// `[n, 1 + max_tokens, WIDTH]`: the summary, then what became of every token.
    features: Tensor,
    /// bool `[n, 1 + max_tokens]`: false for padding.
    present: Tensor,
}

#[derive(Debug)]
struct Block {
    norm: nn::LayerNorm,
    qkv: nn::Linear,
    out: nn::Linear,
    mlp_norm: nn::LayerNorm,
    mlp: [nn::Linear; 2],
}

impl TextEncoder {
    /// Creates the parameters; embeddings of words are standard normal, of positions a tenth of that: words count first.
    pub fn new<'a>(path: impl Borrow<Path<'a>>, text: &TextSpec) -> Self {
        let path = path.borrow();
        let standard = Init::Randn { mean: 0.0, stdev: 1.0 };
        Self {
            tokens: path.var("tokens", &[text.vocab_size, WIDTH], standard),
            positions: path.var(
                "positions",
                &[1 + text.max_tokens, WIDTH],
                Init::Randn { mean: 0.0, stdev: 0.1 },
            ),
            phrases: nn::conv1d(
                path / "phrases",
                WIDTH,
                WIDTH,
                PHRASE,
                nn::ConvConfig {
                    padding: PHRASE / 2,
                    ws_init: pytorch_init(PHRASE * WIDTH),
                    bs_init: pytorch_init(PHRASE * WIDTH),
                    ..Default::default()
                },
            ),
            blocks: (0..DEPTH).map(|i| Block::new(&(path / "blocks" / i))).collect(),
            norm: layer_norm(&(path / "norm")),
        }
    }

    /// Reads captions, i64 `[n, max_tokens]`, 0 being padding.
    pub fn forward(&self, tokens: &Tensor) -> EncodedText {
        let n = tokens.size()[0];
        let words = tokens.not_equal(0);
        let summary = Tensor::ones([n, 1], (Kind::Bool, tokens.device()));
        let present = Tensor::cat(&[&summary, &words], 1);
        let counted = words.unsqueeze(-1).to_kind(Kind::Float);
        let embedded = Tensor::embedding(&self.tokens, tokens, -1, false, false) * &counted;
        // Words with their neighbours, "red circle", "left of a blue", which attention would take long to bring together.
        let phrases = embedded.transpose(1, 2).apply(&self.phrases).transpose(1, 2).gelu("none");
        let embedded = embedded + phrases * &counted;
        // The summary begins as the phrases without their order: a direct way, long before attention has learnt any.
        let number = counted.sum_dim_intlist(1i64, true, Kind::Float).clamp_min(1.0);
        let bag = embedded.sum_dim_intlist(1i64, true, Kind::Float) / number.sqrt();
        let x = Tensor::cat(&[bag, embedded], 1) + &self.positions;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x, &present));
        EncodedText { features: x.apply(&self.norm), present }
    }
}

impl EncodedText {
    /// One vector a caption, `[n, WIDTH]`.
    pub fn summary(&self) -> Tensor {
        self.features.select(1, 0)
    }

    /// Number of captions.
    pub fn len(&self) -> i64 {
        self.features.size()[0]
    }

    /// Whether there is no caption.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers of a [`EncodedText::summary`].
    pub const WIDTH: i64 = WIDTH;
}

impl Block {
    fn new(path: &Path) -> Self {
        Self {
            norm: layer_norm(&(path / "norm")),
            qkv: linear(path / "qkv", WIDTH, 3 * WIDTH),
            out: linear(path / "out", WIDTH, WIDTH),
            mlp_norm: layer_norm(&(path / "mlp_norm")),
            mlp: [
                linear(path / "mlp" / 0, WIDTH, 4 * WIDTH),
                linear(path / "mlp" / 1, 4 * WIDTH, WIDTH),
            ],
        }
    }

    /// `x`: `[n, l, WIDTH]`; `present`: bool `[n, l]`.
    fn forward(&self, x: &Tensor, present: &Tensor) -> Tensor {
        let (n, length, _) = x.size3().expect("captions are [n, l, WIDTH]");
        let qkv = x.apply(&self.norm).apply(&self.qkv);
        let qkv = qkv.reshape([n, length, 3, HEADS, WIDTH / HEADS]).permute([2, 0, 3, 1, 4]);
        let mixed = attend(&qkv.get(0), &qkv.get(1), &qkv.get(2), Some(present));
        let mixed = mixed.transpose(1, 2).reshape([n, length, WIDTH]);
        let x = x + mixed.apply(&self.out);
        let [first, second] = &self.mlp;
        &x + x.apply(&self.mlp_norm).apply(first).gelu("none").apply(second)
    }
}

/// Lets every position of a feature map look at the words of its caption, beside a shortcut; it begins as the shortcut alone.
#[derive(Debug)]
pub struct CrossAttention {
    norm: nn::GroupNorm,
    query: nn::Conv2D,
    key_value: nn::Linear,
    out: nn::Conv2D,
    num_heads: i64,
}

/// Groups of the normalization of feature maps.
const GROUPS: i64 = 8;

impl CrossAttention {
    /// Creates the parameters for maps of `channels`; with as many heads of at least 16 channels as divide them, up to four.
    pub fn new<'a>(path: impl Borrow<Path<'a>>, channels: i64) -> Self {
        let path = path.borrow();
        let heads = [4, 2].into_iter().find(|h| channels % h == 0 && channels / h >= 16);
        let groups = if channels % GROUPS == 0 { GROUPS } else { 1 };
        let init = pytorch_init(channels);
        let pointwise =
            |ws_init, bs_init| nn::ConvConfig { ws_init, bs_init, ..Default::default() };
        let zero = Init::Const(0.0);
        Self {
            norm: nn::group_norm(path / "norm", groups, channels, Default::default()),
            query: nn::conv2d(path / "query", channels, channels, 1, pointwise(init, init)),
            key_value: linear(path / "key_value", WIDTH, 2 * channels),
            out: nn::conv2d(path / "out", channels, channels, 1, pointwise(zero, zero)),
            num_heads: heads.unwrap_or(1),
        }
    }

    /// `x`: `[n, c, h, w]`, as is the result.
    pub fn forward(&self, x: &Tensor, text: &EncodedText) -> Tensor {
        let (n, c, h, w) = x.size4().expect("feature maps have four dimensions");
        let (heads, each) = (self.num_heads, c / self.num_heads);
        let query = split_heads(&x.apply(&self.norm).apply(&self.query), heads);
        let key_value = text.features.apply(&self.key_value);
        let key_value = key_value.reshape([n, -1, 2, heads, each]).permute([2, 0, 3, 1, 4]);
        let query = query.to_kind(key_value.kind());
        let mixed = attend(&query, &key_value.get(0), &key_value.get(1), Some(&text.present));
        x + join_heads(&mixed, (h, w)).apply(&self.out)
    }
}

/// What a caption says of every place in an image: the place's own vector looks at the words. It depends on no pixel, so it is
/// there before there are any: under noise, and in any order of drawing.
#[derive(Debug)]
pub struct PlacedWords {
    /// f32 `[1, WIDTH, h, w]`.
    places: Tensor,
    attention: CrossAttention,
}

impl PlacedWords {
    /// Creates the parameters `places`, standard normal, and those of `attention`, for maps of `height` and `width`.
    pub fn new<'a>(path: impl Borrow<Path<'a>>, height: i64, width: i64) -> Self {
        let path = path.borrow();
        let standard = Init::Randn { mean: 0.0, stdev: 1.0 };
        Self {
            places: path.var("places", &[1, WIDTH, height, width], standard),
            attention: CrossAttention::new(path / "attention", WIDTH),
        }
    }

    /// `[n, WIDTH, h, w]`, one map a caption.
    pub fn forward(&self, text: &EncodedText) -> Tensor {
        let places = self.places.expand([text.len(), -1, -1, -1], false);
        self.attention.forward(&places, text).silu()
    }
}

fn layer_norm(path: &Path) -> nn::LayerNorm {
    nn::layer_norm(path, vec![WIDTH], Default::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LOCK;
    use paragone_core::mix;
    use std::collections::HashMap;
    use tch::{
        Device,
        nn::{OptimizerConfig, VarStore},
    };

    const TEXT: TextSpec = TextSpec { vocab_size: 9, max_tokens: 5 };

    fn tokens(rows: &[[i64; 5]]) -> Tensor {
        Tensor::from_slice(rows.as_flattened()).reshape([-1, 5])
    }

    fn apart(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn the_order_of_words_matters_and_padding_does_not() {
        let _lock = LOCK.lock().unwrap();
        let vars = VarStore::new(Device::Cpu);
        let encoder = TextEncoder::new(vars.root(), &TEXT);
        let rows = tokens(&[[3, 4, 0, 0, 0], [4, 3, 0, 0, 0], [0; 5], [3, 4, 0, 0, 0]]);
        let read = encoder.forward(&rows);
        let summary = read.summary();
        assert_eq!(summary.size(), [4, EncodedText::WIDTH]);
        assert!(apart(&summary.get(0), &summary.get(1)) > 1e-2);
        assert!(apart(&summary.get(0), &summary.get(2)) > 1e-2);
        assert!(apart(&summary.get(0), &summary.get(3)) < 1e-6);
        assert!(bool::try_from(summary.isfinite().all()).unwrap());
        // What padding is embedded as, and where it stands, reaches nothing.
        tch::no_grad(|| {
            let _ = encoder.tokens.get(0).fill_(1e3);
            let _ = encoder.positions.narrow(0, 3, 3).fill_(1e3);
        });
        assert!(apart(&encoder.forward(&rows).summary(), &summary) < 1e-6);
    }

    /// Attention by its definition, one caption and one position at a time.
    #[test]
    fn maps_attend_to_the_words_that_are_there() {
        let _lock = LOCK.lock().unwrap();
        let vars = VarStore::new(Device::Cpu);
        let encoder = TextEncoder::new(vars.root() / "text", &TEXT);
        let cross = CrossAttention::new(vars.root() / "cross", 32);
        let text = encoder.forward(&tokens(&[[3, 4, 0, 0, 0], [7, 0, 0, 0, 0]]));
        let x = Tensor::randn([2, 32, 3, 2], (Kind::Float, Device::Cpu));
        assert!(cross.forward(&x, &text).equal(&x), "it begins as its shortcut");
        tch::no_grad(|| {
            let identity = Tensor::eye(32, (Kind::Float, Device::Cpu)).reshape([32, 32, 1, 1]);
            vars.variables()["cross.out.weight"].shallow_clone().copy_(&identity);
        });
        let got = cross.forward(&x, &text) - &x;
        let query = x.apply(&cross.norm).apply(&cross.query);
        for (row, words) in [(0, 3), (1, 2)] {
            let key_value = text.features.get(row).narrow(0, 0, words).apply(&cross.key_value);
            for head in 0..2 {
                let of_head = |t: &Tensor, at: i64| t.narrow(-1, at + 16 * head, 16);
                let (key, value) = (of_head(&key_value, 0), of_head(&key_value, 32));
                let q = query.get(row).narrow(0, 16 * head, 16).select(1, 2).select(1, 1); // at (2, 1)
                let weights = (key.mv(&q) / 4.0).softmax(0, Kind::Float);
                let want = value.tr().mv(&weights);
                let got = got.get(row).narrow(0, 16 * head, 16).select(1, 2).select(1, 1);
                assert!(apart(&got, &want) < 1e-5, "row {row}, head {head}");
            }
        }
    }

    const COLOURS: [&str; 8] =
        ["red", "green", "blue", "yellow", "orange", "pink", "cyan", "purple"];

    /// The `i`-th caption of two objects, and which colour it says is the one to the left, or above.
    fn who_is_first(i: u64) -> (String, i64) {
        let pick = |what: u64, of: usize| (mix(&[i, what]) % of as u64) as usize;
        let shape = |what| ["circle", "square", "triangle", "cross", "ring"][pick(what, 5)];
        let (one, other) = (pick(0, 8), (pick(0, 8) + 1 + pick(1, 7)) % 8);
        let (a, b) = (
            format!("a {} {}", COLOURS[one], shape(2)),
            format!("a {} {}", COLOURS[other], shape(3)),
        );
        let (first, caption) = match pick(4, 8) {
            0 => (one, format!("{a} to the left of {b}")),
            1 => (other, format!("{a} to the right of {b}")),
            2 => (one, format!("{a} above {b}")),
            3 => (other, format!("{a} below {b}")),
            4 => (other, format!("{a} with {b} to its left")),
            5 => (one, format!("{a} with {b} to its right")),
            6 => (other, format!("{a} with {b} above it")),
            _ => (one, format!("{a} with {b} below it")),
        };
        (caption, first as i64)
    }

    /// Every caption says the two colours, so that one who does not read the order of words is right half of the time.
    #[test]
    fn few_captions_teach_who_is_where() {
        let _lock = LOCK.lock().unwrap();
        tch::manual_seed(0);
        let (batch, steps, max_tokens) = (32, 200, 12);
        let mut vocabulary = HashMap::new();
        let vars = VarStore::new(Device::Cpu);
        let encoder = TextEncoder::new(vars.root(), &TextSpec { vocab_size: 40, max_tokens });
        let head = linear(vars.root() / "head", WIDTH, COLOURS.len() as i64);
        let mut optimizer = nn::Adam::default().build(&vars, 2e-3).unwrap();
        let mut right = 0.0;
        for step in 0..steps {
            let captions = (0..batch).map(|i| who_is_first(step * batch + i));
            let (captions, first): (Vec<String>, Vec<i64>) = captions.unzip();
            let rows = captions.iter().map(|caption| {
                let mut row = vec![0; max_tokens as usize];
                for (token, word) in row.iter_mut().zip(caption.split(' ')) {
                    let unseen = 1 + vocabulary.len() as i64;
                    *token = *vocabulary.entry(word.to_owned()).or_insert(unseen);
                }
                Tensor::from_slice(&row)
            });
            let read = encoder.forward(&Tensor::stack(&rows.collect::<Vec<_>>(), 0)).summary();
            let (logits, first) = (read.apply(&head), Tensor::from_slice(&first));
            if step >= steps - 100 {
                right += logits.accuracy_for_logits(&first).double_value(&[]) / 100.0;
            }
            optimizer.backward_step_clip_norm(&logits.cross_entropy_for_logits(&first), 1.0);
        }
        assert!(right > 0.95, "of captions 3,201 to 6,400 {right} are understood");
    }

    #[test]
    fn every_place_reads_a_caption_for_itself() {
        let _lock = LOCK.lock().unwrap();
        let vars = VarStore::new(Device::Cpu);
        let encoder = TextEncoder::new(vars.root() / "text", &TEXT);
        let placed = PlacedWords::new(vars.root() / "placed", 2, 3);
        let read = encoder.forward(&tokens(&[[3, 4, 0, 0, 0], [4, 3, 0, 0, 0]]));
        let before = placed.forward(&read);
        assert_eq!(before.size(), [2, EncodedText::WIDTH, 2, 3]);
        assert!(before.get(0).equal(&before.get(1)), "it begins as the places alone");
        tch::no_grad(|| {
            let _ =
                vars.variables()["placed.attention.out.weight"].shallow_clone().normal_(0.0, 1.0);
        });
        let change = (placed.forward(&read) - before).flatten(2, -1); // [n, WIDTH, places]
        assert!(apart(&change.get(0), &change.get(1)) > 1e-2, "captions are told apart");
        assert!(apart(&change.select(2, 0), &change.select(2, 5)) > 1e-2, "places are, too");
    }
}
