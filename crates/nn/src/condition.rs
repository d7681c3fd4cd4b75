//! What an image is asked to be, its class and its caption, as a vector and as words.

use crate::{
    layers::linear,
    text::{EncodedText, TextEncoder},
};
use paragone_core::{Conditions, DataSpec};
use std::borrow::Borrow;
use tch::{
    Tensor,
    nn::{self, Init, Path},
};

/// Embeds the class and text of [`Conditions`]; known pixels are not its business, being images.
#[derive(Debug)]
pub struct ConditionEmbedding {
    /// f32 `[num_classes + 1, dim]`; the last row stands for "no class".
    class: Tensor,
    text: Option<(TextEncoder, nn::Linear)>,
}

/// Conditions as networks see them.
#[derive(Debug)]
pub struct EmbeddedConditions {
    /// f32 `[n, dim]`: everything at once.
    pub vector: Tensor,
    /// The captions word by word, for captioned data: what [`CrossAttention`](crate::CrossAttention) looks at.
    pub text: Option<EncodedText>,
}

impl ConditionEmbedding {
    /// Creates the parameters `class`, standard normal, and for captioned data those of `text` and `summary`.
    pub fn new<'a>(path: impl Borrow<Path<'a>>, data: &DataSpec, dim: i64) -> Self {
        let path = path.borrow();
        let standard = Init::Randn { mean: 0.0, stdev: 1.0 };
        let class = path.var("class", &[data.num_classes + 1, dim], standard);
        let text = data.text.as_ref().map(|text| {
            let summary = linear(path / "summary", EncodedText::WIDTH, dim);
            (TextEncoder::new(path / "text", text), summary)
        });
        Self { class, text }
    }

    /// One row an image.
    pub fn forward(&self, conditions: &Conditions) -> EmbeddedConditions {
        let class = Tensor::embedding(&self.class, &conditions.class, -1, false, false);
        let Some((encoder, summary)) = &self.text else {
            return EmbeddedConditions { vector: class, text: None };
        };
        let text = encoder.forward(&conditions.tokens);
        EmbeddedConditions { vector: class + text.summary().apply(summary), text: Some(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LOCK;
    use paragone_core::{ImageShape, TextSpec};
    use tch::{Device, Kind, nn::VarStore};

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
        let out = embedding.forward(&asked).vector;
        assert!(out.get(0).equal(&rows.get(2)) && out.get(1).equal(&rows.get(0)));
        let none = embedding.forward(&Conditions::none(1, &data, Device::Cpu)).vector;
        assert!(none.get(0).equal(&rows.get(3)));
    }

    #[test]
    fn class_and_caption_both_count() {
        let _lock = LOCK.lock().unwrap();
        let vars = VarStore::new(Device::Cpu);
        let data = spec(Some(TextSpec { vocab_size: 6, max_tokens: 3 }));
        let embedding = ConditionEmbedding::new(vars.root(), &data, 5);
        let mut conditions = Conditions::of_classes(&[1, 1, 2, 2], &data, Device::Cpu);
        let tokens = [[2i64, 5, 0], [0, 0, 0], [2, 5, 0], [0, 0, 0]];
        conditions.tokens = Tensor::from_slice(tokens.as_flattened()).reshape([4, 3]);
        let embedded = embedding.forward(&conditions);
        assert!(embedded.text.is_some());
        let row = |i: i64| embedded.vector.get(i);
        let close = |a: Tensor, b: Tensor| a.allclose(&b, 1e-5, 1e-5, false);
        // What the caption adds is the same for every class.
        assert!(close(row(0) - row(1), row(2) - row(3)));
        assert!(!close(row(0), row(1)) && !close(row(0), row(2)));
        assert_eq!(embedded.vector.kind(), Kind::Float);
    }
}
