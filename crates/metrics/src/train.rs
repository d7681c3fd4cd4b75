//! Training of the small classifiers: AdamW with a cosine schedule, batch normalisation, dropout, flips and shifts.
//!
//! Every draw comes from the seed by counters, so the same data, options, device kind and thread count give the same
//! weights, bit for bit, whatever the global generator is at.

use crate::{
    ClassifierFeatures, MetricError, Result,
    augment::{TrainBatch, epoch},
    card::{Card, Role, to_bytes},
    features::check_images,
    options::TrainOptions,
    trainee::Trainee,
};
use paragone_core::{ImageShape, from_levels};
use tch::{Device, Kind, Tensor};
use torch_ext::{AdamW, Autocast};

/// Images with their classes.
#[derive(Debug, Clone, Copy)]
pub struct LabelledImages<'a> {
    /// u8 `[n, c, h, w]`.
    pub images: &'a Tensor,
    /// i64 `[n]` in `0..num_classes`.
    pub classes: &'a Tensor,
}

/// Where training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainProgress {
    /// Optimiser steps done.
    pub step: u64,
    /// Optimiser steps in all.
    pub steps: u64,
    /// Training images seen.
    pub images: u64,
    /// The mean cross-entropy since the last report.
    pub loss: f64,
}

/// A trained network.
#[derive(Debug)]
pub struct TrainedClassifier {
    /// The bytes of its weights file.
    pub bytes: Vec<u8>,
    /// The same network, loaded.
    pub classifier: ClassifierFeatures,
}

/// Steps between two reports of progress.
const REPORT_EVERY: u64 = 50;

/// Trains a classifier and measures its accuracy on `test`, which takes no other part.
///
/// `dataset` and `role` go into the card; the accuracy is that of the weights as they are stored, in 16 bits.
///
/// # Errors
/// [`MetricError::Shape`] for tensors that do not fit, [`MetricError::TooFew`] for an empty set,
/// [`MetricError::Option`] for no epoch or empty batches, [`MetricError::Diverged`] for a loss that is not finite.
pub fn train_classifier(
    dataset: &str,
    role: Role,
    train: LabelledImages<'_>,
    test: LabelledImages<'_>,
    options: &TrainOptions,
    device: Device,
    on_progress: &mut dyn FnMut(TrainProgress),
) -> Result<TrainedClassifier> {
    let shape = check(train, None)?;
    check(test, Some(shape))?;
    for (key, value) in [("epochs", options.epochs as i64), ("batch_size", options.batch_size)] {
        if value < 1 {
            return Err(MetricError::Option { key, value, least: 1 });
        }
    }
    let num_classes = train.classes.max().int64_value(&[]) + 1;

    let trainee = Trainee::new(shape.channels, num_classes, options, device);
    fit(&trainee, train, options, device, on_progress)?;
    let network = trainee.fold();

    let mut card = Card {
        dataset: dataset.into(),
        role,
        shape,
        num_classes,
        options: options.clone(),
        train_images: train.images.size()[0],
        test_accuracy: 0.0,
    };
    let stored = ClassifierFeatures::from_bytes(&to_bytes(&network, &card), device)?;
    card.test_accuracy = stored.class_accuracy(test.images, test.classes)?;
    let bytes = to_bytes(&network, &card);
    let classifier = ClassifierFeatures::from_bytes(&bytes, device)?;
    Ok(TrainedClassifier { bytes, classifier })
}

fn fit(
    trainee: &Trainee,
    train: LabelledImages<'_>,
    options: &TrainOptions,
    device: Device,
    on_progress: &mut dyn FnMut(TrainProgress),
) -> Result<()> {
    let n = train.images.size()[0];
    let batch_size = options.batch_size.min(n);
    let steps = options.epochs * (n / batch_size) as u64;
    let params = trainee.parameters();
    let [exp_avgs, exp_avg_sqs] =
        [0, 1].map(|_| params.iter().map(Tensor::zeros_like).collect::<Vec<_>>());
    let counts: Vec<_> = params.iter().map(|_| Tensor::zeros([], (Kind::Float, device))).collect();

    let batches =
        (0..options.epochs).flat_map(|i| epoch(train.images, train.classes, options, i, device));
    let mut losses = Tensor::zeros([], (Kind::Double, device));
    let mut since_report = 0;
    for (step, batch) in batches.enumerate() {
        let step = step as u64;
        let loss = loss(trainee, &batch, step, device)?;
        let grads = Tensor::f_run_backward(&[&loss], &params, false, false)?;
        let optimizer = AdamW {
            lr: options.lr * schedule(step as f64 / steps as f64),
            betas: (0.9, 0.99),
            weight_decay: options.weight_decay,
            eps: 1e-8,
        };
        optimizer.update(&params, &grads, &exp_avgs, &exp_avg_sqs, &counts)?;

        losses += loss.detach();
        since_report += 1;
        if since_report == REPORT_EVERY || step + 1 == steps {
            let loss = losses.double_value(&[]) / since_report as f64;
            if !loss.is_finite() {
                return Err(MetricError::Diverged { step });
            }
            on_progress(TrainProgress {
                step: step + 1,
                steps,
                images: (step + 1) * batch_size as u64,
                loss,
            });
            losses = losses.zeros_like();
            since_report = 0;
        }
    }
    Ok(())
}

fn loss(trainee: &Trainee, batch: &TrainBatch, step: u64, device: Device) -> Result<Tensor> {
    let logits = {
        let _autocast = Autocast::enter(device, Some(Kind::BFloat16))?;
        trainee.forward(&from_levels(&batch.levels), step)?
    };
    Ok(logits.to_kind(Kind::Float).cross_entropy_for_logits(&batch.classes))
}

/// The learning rate at a share of training: up in a twentieth, then down half a cosine (Loshchilov & Hutter 2017).
fn schedule(done: f64) -> f64 {
    let warmup = (done / 0.05).min(1.0);
    warmup * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}

fn check(set: LabelledImages<'_>, shape: Option<ImageShape>) -> Result<ImageShape> {
    let size = set.images.size();
    let shape = shape.unwrap_or_else(|| match size[..] {
        [_, channels, height, width] => ImageShape { channels, height, width },
        _ => ImageShape { channels: 1, height: 0, width: 0 },
    });
    check_images(set.images, shape.channels, Some((shape.height, shape.width)))?;
    if set.classes.size() != size[..1] || set.classes.kind() != Kind::Int64 {
        return Err(MetricError::Shape {
            what: "classes",
            expected: format!("Int64 [{}]", size[0]),
            got: format!("{:?} {:?}", set.classes.kind(), set.classes.size()),
        });
    }
    if size[0] == 0 {
        return Err(MetricError::TooFew { what: "a classifier", needs: 1, got: 0 });
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FeatureExtractor, noise_images};

    /// Noise at half contrast with a bright row (class 0), column (1) or nothing (2): u8 `[n, 1, 12, 12]`, i64 `[n]`.
    fn stripes(n: i64, seed: u64) -> (Tensor, Tensor) {
        let shape = ImageShape { channels: 1, height: 12, width: 12 };
        let images = noise_images(n, shape, seed).floor_divide_scalar(2);
        let classes = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(3);
        for i in 0..n {
            let at = 2 + i / 3 % 8;
            if i % 3 < 2 {
                let _ = images.get(i).get(0).select(i % 3, at).fill_(250);
            }
        }
        (images, classes)
    }

    fn options() -> TrainOptions {
        TrainOptions {
            widths: [8, 8, 16],
            feature_dim: 12,
            epochs: 6,
            batch_size: 32,
            flip: true,
            ..TrainOptions::default()
        }
    }

    fn train(options: &TrainOptions) -> (TrainedClassifier, Vec<TrainProgress>) {
        let ((images, classes), (test, test_classes)) = (stripes(600, 0), stripes(150, 1));
        let mut reports = Vec::new();
        let trained = train_classifier(
            "stripes",
            Role::Judge,
            LabelledImages { images: &images, classes: &classes },
            LabelledImages { images: &test, classes: &test_classes },
            options,
            Device::Cpu,
            &mut |report| reports.push(report),
        );
        (trained.unwrap(), reports)
    }

    #[test]
    fn learns_what_can_be_learnt_and_says_so() {
        let (trained, reports) = train(&options());
        let card = trained.classifier.card();
        assert!(card.test_accuracy > 0.95, "{}", card.test_accuracy);
        assert_eq!((card.num_classes, card.train_images, card.role), (3, 600, Role::Judge));
        let (test, classes) = stripes(150, 1);
        let loaded = ClassifierFeatures::from_bytes(&trained.bytes, Device::Cpu).unwrap();
        assert_eq!(loaded.class_accuracy(&test, &classes).unwrap(), card.test_accuracy);
        assert_eq!(loaded.dim(), 12);

        let last = reports.last().unwrap();
        assert_eq!((last.step, last.steps, last.images), (108, 108, 108 * 32));
        assert!(last.loss < reports[0].loss);
    }

    #[test]
    fn the_seed_decides_every_bit() {
        let short = TrainOptions { epochs: 1, ..options() };
        tch::manual_seed(1);
        let first = train(&short).0;
        tch::manual_seed(2);
        assert_eq!(train(&short).0.classifier.hash(), first.classifier.hash());
        let other = TrainOptions { seed: 1, ..short };
        let network =
            |trained: &TrainedClassifier| trained.classifier.features(&stripes(9, 2).0).unwrap();
        assert!(!network(&train(&other).0).equal(&network(&first)));
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_it() {
        let (images, classes) = stripes(60, 0);
        let set = LabelledImages { images: &images, classes: &classes };
        let options = TrainOptions { lr: f64::NAN, ..options() };
        let result =
            train_classifier("x", Role::Judge, set, set, &options, Device::Cpu, &mut |_| ());
        assert!(matches!(result, Err(MetricError::Diverged { .. })), "{result:?}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (images, classes) = stripes(9, 0);
        let train = |images: &Tensor, classes: &Tensor, options: &TrainOptions| {
            let set = LabelledImages { images, classes };
            train_classifier("x", Role::Judge, set, set, options, Device::Cpu, &mut |_| ())
                .unwrap_err()
                .to_string()
        };
        let eight = classes.narrow(0, 0, 8);
        let message = train(&images, &eight, &options());
        assert_eq!(message, "classes must be Int64 [9], but is Int64 [8]");
        let message = train(&images.flatten(0, -1), &classes, &options());
        assert!(message.starts_with("images must be Uint8"), "{message}");
        let message = train(&images.narrow(0, 0, 0), &classes.narrow(0, 0, 0), &options());
        assert_eq!(message, "a classifier needs at least 1 images, but got 0");
        let empty = TrainOptions { batch_size: 0, ..options() };
        let message = train(&images, &classes, &empty);
        assert_eq!(message, "batch_size is 0, but must be at least 1");
    }

    #[test]
    fn the_learning_rate_rises_and_falls() {
        assert_eq!(schedule(0.0), 0.0);
        assert!((schedule(0.05) - 0.5 * (1.0 + (0.05 * std::f64::consts::PI).cos())).abs() < 1e-12);
        assert!((schedule(0.5) - 0.5).abs() < 1e-12);
        assert!(schedule(1.0).abs() < 1e-12);
    }
}
