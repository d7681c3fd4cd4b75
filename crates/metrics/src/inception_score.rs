//! Inception Score: exp of the mean divergence of an image's class distribution from the set's. Salimans et al. 2016,
//! section 4.

use crate::{MetricError, Result};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The Inception Score over several parts of a set; from 1 to the number of classes, more is better. It looks at no real
/// image: it says how sure a classifier is of every image, and how evenly all of them spread over its classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InceptionScore {
    /// Mean over the parts.
    pub mean: f64,
    /// Standard deviation over the parts (dividing by their number).
    pub std: f64,
}

/// The Inception Score of images from their class logits, any float kind `[n, classes]`, over `splits` consecutive parts.
/// The field's choice is 10 parts and [`InceptionFeatures`](crate::InceptionFeatures)' logits without bias.
///
/// A part's images stand side by side: part i has the images from ⌊i n / splits⌋ to below ⌊(i + 1) n / splits⌋. Images in
/// an order, such as one class after the other, must be shuffled first, by [`draw_rows`](crate::draw_rows) for example.
/// torch-fidelity's parts are the same, after a shuffle of its own.
///
/// # Errors
/// [`MetricError::Option`] for no part, [`MetricError::TooFew`] for less images than parts, [`MetricError::Shape`] and
/// [`MetricError::NotFinite`] for the logits.
pub fn inception_score(logits: &Tensor, splits: i64) -> Result<InceptionScore> {
    if splits < 1 {
        return Err(MetricError::Option { key: "splits", value: splits, least: 1 });
    }
    let n = match logits.size()[..] {
        [n, classes] if classes > 0 && logits.is_floating_point() => n,
        _ => {
            return Err(MetricError::Shape {
                what: "logits",
                expected: "Float [n, classes]".into(),
                got: format!("{:?} {:?}", logits.kind(), logits.size()),
            });
        }
    };
    if n < splits {
        return Err(MetricError::TooFew { what: "an Inception Score", needs: splits, got: n });
    }
    let logits = logits.to_device(Device::Cpu).to_kind(Kind::Double);
    let strange = logits.isfinite().logical_not().any_dim(1, false);
    if strange.any().int64_value(&[]) == 1 {
        return Err(MetricError::NotFinite {
            row: strange.to_kind(Kind::Int).argmax(0, false).int64_value(&[]),
        });
    }
    let scores: Vec<f64> = (0..splits)
        .map(|i| {
            let (start, end) = (i * n / splits, (i + 1) * n / splits);
            score(&logits.narrow(0, start, end - start))
        })
        .collect();
    let mean = scores.iter().sum::<f64>() / splits as f64;
    let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / splits as f64;
    Ok(InceptionScore { mean, std: variance.sqrt() })
}

/// exp(E_x KL(p(y|x) ‖ p(y))) of f64 logits `[n, classes]`. All in logarithms, so that no class has probability zero.
fn score(logits: &Tensor) -> f64 {
    let log_p = logits.log_softmax(-1, Kind::Double);
    let log_marginal = log_p.logsumexp([0i64].as_slice(), true) - (log_p.size()[0] as f64).ln();
    let divergence = (log_p.exp() * (&log_p - log_marginal)).sum(Kind::Double);
    (divergence.double_value(&[]) / log_p.size()[0] as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{features, fixed_real};

    #[test]
    fn of_known_distributions() {
        let score = |logits: &Tensor| inception_score(logits, 1).unwrap().mean;
        // Sure of every image, and each class as often as any other: the number of classes.
        let sure = Tensor::eye(7, (Kind::Float, Device::Cpu)) * 2000.0;
        assert!((score(&sure) - 7.0).abs() < 1e-12);
        // Every image alike, sure or not: 1.
        assert_eq!(score(&Tensor::zeros([5, 3], (Kind::Float, Device::Cpu))), 1.0);
        assert!((score(&sure.narrow(0, 2, 1).repeat([9, 1])) - 1.0).abs() < 1e-12);
    }

    /// By torch-fidelity's `isc_features_to_metric(..., shuffle=False)`.
    #[test]
    fn golden() {
        let logits = fixed_real() * 4.0;
        let got = inception_score(&logits, 10).unwrap();
        let (mean, std) = (1.4081583063634748, 0.07632743853778164);
        assert!((got.mean - mean).abs() < 1e-9 && (got.std - std).abs() < 1e-9, "{got:?}");
    }

    #[test]
    fn parts_that_do_not_divide_the_set() {
        let logits = features(11, 5, 0);
        let parts = [(0, 3), (3, 4), (7, 4)];
        let alone =
            parts.map(|(at, len)| inception_score(&logits.narrow(0, at, len), 1).unwrap().mean);
        let whole = inception_score(&logits, 3).unwrap();
        assert!((whole.mean - alone.iter().sum::<f64>() / 3.0).abs() < 1e-12);
        assert!(whole.std > 0.0);
    }

    #[test]
    fn what_it_is_not_defined_for() {
        let message =
            |logits: &Tensor, splits| inception_score(logits, splits).unwrap_err().to_string();
        let logits = features(9, 5, 0);
        assert_eq!(message(&logits, 0), "splits is 0, but must be at least 1");
        assert_eq!(message(&logits, 10), "an Inception Score needs at least 10 images, but got 9");
        assert_eq!(
            message(&logits.flatten(0, -1), 3),
            "logits must be Float [n, classes], but is Float [45]"
        );
        let _ = logits.get(4).get(1).fill_(f64::INFINITY);
        assert_eq!(message(&logits, 3), "the features of image 4 are not finite");
    }
}
