//! What a network reads of images, and how much of it is what was asked for.

use crate::{MetricError, Result};
use tch::{Device, Kind, Tensor};

/// What a network takes images to show.
#[derive(Debug)]
pub struct Reading {
    /// i64 `[n, attributes]`: the likeliest value of each attribute, in the order of the card.
    pub values: Tensor,
    /// f32 `[n, values]`, one an attribute.
    pub logits: Vec<Tensor>,
}

/// Shares of images that show what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeAccuracy {
    /// Of each attribute, among the images that it was asked of; `None` if it was asked of none.
    pub each: Vec<Option<f64>>,
    /// Of everything that was asked of an image at once, among all images.
    pub all: f64,
}

impl Reading {
    /// Compares with what was asked for: i64 `[n, attributes]`, negative where an image may have any value; or
    /// `[n, alternatives, attributes]`, of which an image is judged by the one that it fits best.
    ///
    /// # Errors
    /// [`MetricError::Shape`] for another number of images or attributes, or for no alternative; [`MetricError::TooFew`] for
    /// no image.
    pub fn accuracy(&self, asked: &Tensor) -> Result<AttributeAccuracy> {
        let (n, attributes) = self.values.size2()?;
        let fits = match asked.size()[..] {
            [rows, of] => (rows, of) == (n, attributes),
            [rows, alternatives, of] => (rows, of) == (n, attributes) && alternatives > 0,
            _ => false,
        };
        if !fits || asked.kind() != Kind::Int64 {
            return Err(MetricError::Shape {
                what: "asked attributes",
                expected: format!("Int64 {:?}", [n, attributes]),
                got: format!("{:?} {:?}", asked.kind(), asked.size()),
            });
        }
        if n == 0 {
            return Err(MetricError::TooFew { what: "attribute accuracy", needs: 1, got: 0 });
        }
        let asked = asked.to_device(Device::Cpu).reshape([n, -1, attributes]);
        let is_asked = asked.ge(0);
        let right = self.values.unsqueeze(1).eq_tensor(&asked).logical_or(&is_asked.logical_not());
        let best = right.sum_dim_intlist(2, false, Kind::Int64).argmax(1, false); // [n]
        let of_best = |x: &Tensor| {
            let rows = best.reshape([n, 1, 1]).expand([n, 1, attributes], false);
            x.gather(1, &rows, false).squeeze_dim(1)
        };
        let (right, is_asked) = (of_best(&right), of_best(&is_asked));
        let each = (0..attributes).map(|attribute| {
            let rows = is_asked.select(1, attribute);
            let right = right.select(1, attribute).masked_select(&rows);
            (right.numel() > 0).then(|| share(&right))
        });
        Ok(AttributeAccuracy { each: each.collect(), all: share(&right.all_dim(1, false)) })
    }
}

fn share(right: &Tensor) -> f64 {
    right.to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[[i64; 3]]) -> Tensor {
        Tensor::from_slice(rows.as_flattened()).reshape([-1, 3])
    }

    fn reading(rows: &[[i64; 3]]) -> Reading {
        Reading { values: table(rows), logits: Vec::new() }
    }

    #[test]
    fn only_what_was_asked_counts() {
        let reading = reading(&[[0, 1, 2], [0, 1, 2], [3, 1, 0], [3, 1, 1]]);
        let asked = table(&[[0, 1, -1], [0, 0, -1], [-1, 1, -1], [2, 1, -1]]);
        let accuracy = reading.accuracy(&asked).unwrap();
        assert_eq!(accuracy.each, [Some(2.0 / 3.0), Some(0.75), None]);
        // The first and the third image show all that was asked of them.
        assert_eq!(accuracy.all, 0.5);
    }

    #[test]
    fn of_alternatives_the_one_that_fits_best_counts() {
        let reading = reading(&[[0, 1, 2], [0, 1, 2], [0, 1, 2]]);
        let asked = [
            [[3i64, 1, 2], [0, 1, 2]], // the second, whole
            [[0, 1, 0], [1, 0, 2]],    // the first, but for its last
            [[0, 1, 2], [1, 0, -1]],
        ];
        let asked = Tensor::from_slice(asked.as_flattened().as_flattened()).reshape([3, 2, 3]);
        let accuracy = reading.accuracy(&asked).unwrap();
        assert_eq!(accuracy.each, [Some(1.0), Some(1.0), Some(2.0 / 3.0)]);
        assert_eq!(accuracy.all, 2.0 / 3.0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let message =
            |reading: &Reading, asked: &Tensor| reading.accuracy(asked).unwrap_err().to_string();
        let one = reading(&[[0, 1, 2]]);
        let two = table(&[[0, 1, 2], [0, 1, 2]]);
        let expected = "asked attributes must be Int64 [1, 3], but is Int64 [2, 3]";
        assert_eq!(message(&one, &two), expected);
        let none = Tensor::zeros([0, 3], (Kind::Int64, Device::Cpu));
        let expected = "attribute accuracy needs at least 1 images, but got 0";
        let empty = Reading { values: none.copy(), logits: Vec::new() };
        assert_eq!(message(&empty, &none), expected);
    }
}
