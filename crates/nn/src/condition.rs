//! One vector an image for what it is asked to be: its class and the pooled tokens of its caption.

use paragone_core::{Conditions, DataSpec};
use std::borrow::Borrow;
use tch::{
    Kind, Tensor,
    nn::{Init, Path},
};

/// Embeds the class and text of [`Conditions`] into vectors; known pixels are not its business, being images.
#[derive(Debug)]
pub struct ConditionEmbedding {
    /// f32 `[num_classes + 1, dim]`; the last row stands for "no class".
    class: Tensor,
    text: Option<PooledText>,
}

/// A caption as the mean of its tokens' embeddings.
#[derive(Debug)]
struct PooledText {
    /// f32 `[vocab_size, dim]`.
    tokens: Tensor,
    /// f32 `[dim]`: stands for "no caption".
    null: Tensor,
}

impl ConditionEmbedding {
    /// Creates the parameters `class`, and `tokens` and `no_text` for captioned data, all standard normal.
    pub fn new<'a>(path: impl Borrow<Path<'a>>, data: &DataSpec, dim: i64) -> Self {
        let path = path.borrow();
        let standard = Init::Randn { mean: 0.0, stdev: 1.0 };
        let class = path.var("class", &[data.num_classes + 1, dim], standard);
        let text = data.text.as_ref().map(|text| PooledText {
            tokens: path.var("tokens", &[text.vocab_size, dim], standard),
            null: path.var("no_text", &[dim], standard),
        });
        Self { class, text }
    }

    /// f32 `[n, dim]`, one row an image.
    pub fn forward(&self, conditions: &Conditions) -> Tensor {
        let class = Tensor::embedding(&self.class, &conditions.class, -1, false, false);
        match &self.text {
            None => class,
            Some(text) => class + text.forward(&conditions.tokens),
        }
    }
}

impl PooledText {
    fn forward(&self, tokens: &Tensor) -> Tensor {
        let words = tokens.not_equal(0).to_kind(Kind::Float).unsqueeze(-1); // [n, max_tokens, 1]
        let num_words = words.sum_dim_intlist(1, false, Kind::Float); // [n, 1]
        let embedded = Tensor::embedding(&self.tokens, tokens, -1, false, false);
        let sum = (embedded * words).sum_dim_intlist(1, false, Kind::Float);
        let mean = sum / num_words.clamp_min(1.0);
        mean.where_self(&num_words.greater(0.0), &self.null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LOCK;
    use paragone_core::{ImageShape, TextSpec};
    use tch::{Device, nn::VarStore};

    fn spec(text: Option<TextSpec>) -> DataSpec {
        DataSpec {
            shape: ImageShape { channels: 1, height: 4, width: 4 },
            num_classes: 3,
            text,
            known_pixels: false,
            mean: 0.0,
            std: 1.0,
        }
    }

    #[test]
    fn classes_have_rows_and_the_last_is_none() {
        let _lock = LOCK.lock().unwrap();
        let vars = VarStore::new(Device::Cpu);
        let data = spec(None);
        let embedding = ConditionEmbedding::new(vars.root() / "condition", &data, 5);
        let rows = &vars.variables()["condition.class"];
        assert_eq!(rows.size(), [4, 5]);
        let asked = Conditions::of_classes(&[2, 0], &data, Device::Cpu);
        let out = embedding.forward(&asked);
        assert!(out.get(0).equal(&rows.get(2)) && out.get(1).equal(&rows.get(0)));
        let none = embedding.forward(&Conditions::none(1, &data, Device::Cpu));
        assert!(none.get(0).equal(&rows.get(3)));
    }

    #[test]
    fn text_is_a_mean_over_words_and_padding_means_none() {
        let _lock = LOCK.lock().unwrap();
        let vars = VarStore::new(Device::Cpu);
        let data = spec(Some(TextSpec { vocab_size: 6, max_tokens: 3 }));
        let embedding = ConditionEmbedding::new(vars.root(), &data, 5);
        let vars = vars.variables();
        let mut conditions = Conditions::of_classes(&[1, 1], &data, Device::Cpu);
        conditions.tokens = Tensor::from_slice(&[2i64, 5, 0, 0, 0, 0]).reshape([2, 3]);
        let out = embedding.forward(&conditions);
        let class = vars["class"].get(1);
        let mean = (vars["tokens"].get(2) + vars["tokens"].get(5)) / 2.0;
        assert!(out.get(0).allclose(&(&class + mean), 1e-6, 1e-6, false));
        assert!(out.get(1).allclose(&(class + &vars["no_text"]), 1e-6, 1e-6, false));
    }
}
