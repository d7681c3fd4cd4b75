//! Training of the small classifiers: AdamW with a cosine schedule, batch normalisation, dropout and augmentation.
//!
//! Every draw comes from the seed by counters, so the same data, options, device kind and thread count give the same
//! weights, bit for bit, whatever the global generator is at.

use crate::{
    ClassifierFeatures, MetricError, Result,
    augment::{TrainBatch, batches},
    card::{Card, Learnt, Role, to_bytes},
    features::check_images,
    options::TrainOptions,
    trainee::Trainee,
};
use paragone_core::{Attribute, ImageShape, from_levels};
use std::fmt;
use tch::{Device, Kind, Tensor};
use torch_ext::{AdamW, Autocast};

/// Images with what they show.
#[derive(Debug)]
pub struct LabelledImages {
    /// u8 `[n, c, h, w]`.
    pub images: Tensor,
    /// i64 `[n, attributes]`: values of the attributes, in their order.
    pub labels: Tensor,
}

impl Clone for LabelledImages {
    /// Shares the tensors.
    fn clone(&self) -> Self {
        Self { images: self.images.shallow_clone(), labels: self.labels.shallow_clone() }
    }
}

/// What a classifier learns, and from what.
pub struct Lessons<'a> {
    /// The data, for the card.
    pub dataset: &'a str,
    /// What is to be told of an image, the class first.
    pub attributes: Vec<Attribute>,
    /// The images of an epoch: the same ones always, or others every time, but as many.
    pub epoch: &'a dyn Fn(u64) -> LabelledImages,
    /// Whether every epoch has other images.
    pub fresh: bool,
}

impl fmt::Debug for Lessons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lessons").field("dataset", &self.dataset).finish_non_exhaustive()
    }
}

/// Images that show how well a classifier learnt, and take no other part.
#[derive(Debug)]
pub struct Exam {
    /// The test split.
    pub test: LabelledImages,
    /// Combinations of attributes that the test split lacks, if the data has such a split.
    pub held_out: Option<LabelledImages>,
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

/// Trains a classifier and examines it.
///
/// `role` goes into the card; accuracies are those of the weights as they are stored, in 16 bits.
///
/// # Errors
/// [`MetricError::Shape`] for tensors that do not fit, [`MetricError::TooFew`] for an empty set,
/// [`MetricError::Label`] for a value that an attribute does not have, [`MetricError::Option`] for no epoch or empty
/// batches, [`MetricError::Diverged`] for a loss that is not finite.
pub fn train_classifier(
    lessons: &Lessons<'_>,
    exam: &Exam,
    role: Role,
    options: &TrainOptions,
    device: Device,
    on_progress: &mut dyn FnMut(TrainProgress),
) -> Result<TrainedClassifier> {
    check_options(options)?;
    let attributes = &lessons.attributes;
    let shape = check(&exam.test, None, attributes)?;
    if let Some(held_out) = &exam.held_out {
        check(held_out, Some(shape), attributes)?;
    }

    let heads: Vec<(&str, i64)> =
        attributes.iter().map(|a| (a.name.as_str(), a.num_values())).collect();
    let trainee = Trainee::new(shape.channels, &heads, options, device);
    let first = (lessons.epoch)(0);
    check(&first, Some(shape), attributes)?;
    let images = fit(
        &trainee.parameters(),
        &mut |number| if number == 0 { first.clone() } else { (lessons.epoch)(number) },
        &|batch, step| loss(&trainee, batch, step, device),
        options,
        device,
        on_progress,
    )?;
    let network = trainee.fold();

    let learnt = |attribute: &Attribute| Learnt {
        attribute: attribute.clone(),
        test_accuracy: 0.0,
        held_out_accuracy: None,
    };
    let mut card = Card {
        dataset: lessons.dataset.to_owned(),
        role,
        shape,
        attributes: attributes.iter().map(learnt).collect(),
        options: options.clone(),
        train_images: if lessons.fresh { images * options.epochs as i64 } else { images },
    };
    let stored = ClassifierFeatures::from_bytes(&to_bytes(&network, &card), device)?;
    let accuracy = |set: &LabelledImages| stored.attribute_accuracy(&set.images, &set.labels);
    let held_out = exam.held_out.as_ref().map(accuracy).transpose()?;
    for (i, test) in accuracy(&exam.test)?.each.into_iter().enumerate() {
        card.attributes[i].test_accuracy = test.expect("every label of a checked set is asked");
        card.attributes[i].held_out_accuracy = held_out.as_ref().and_then(|held| held.each[i]);
    }
    let bytes = to_bytes(&network, &card);
    let classifier = ClassifierFeatures::from_bytes(&bytes, device)?;
    Ok(TrainedClassifier { bytes, classifier })
}

/// Trains `params` through all epochs, whose images `epoch` gives, by the `loss` of a batch at a step. Returns the images of
/// one epoch.
pub(crate) fn fit(
    params: &[Tensor],
    epoch: &mut dyn FnMut(u64) -> LabelledImages,
    loss: &dyn Fn(&TrainBatch, u64) -> Result<Tensor>,
    options: &TrainOptions,
    device: Device,
    on_progress: &mut dyn FnMut(TrainProgress),
) -> Result<i64> {
    let mut first = Some(epoch(0));
    let n = first.as_ref().map_or(0, |set| set.images.size()[0]);
    let batch_size = options.batch_size.min(n);
    let steps = options.epochs * (n / batch_size) as u64;
    let [exp_avgs, exp_avg_sqs] =
        [0, 1].map(|_| params.iter().map(Tensor::zeros_like).collect::<Vec<_>>());
    let counts: Vec<_> = params.iter().map(|_| Tensor::zeros([], (Kind::Float, device))).collect();

    let batches = (0..options.epochs).flat_map(|i| {
        let images = first.take().unwrap_or_else(|| epoch(i));
        batches(images, options, i, device)
    });
    let mut losses = Tensor::zeros([], (Kind::Double, device));
    let mut since_report = 0;
    for (step, batch) in batches.enumerate() {
        let step = step as u64;
        let loss = loss(&batch, step)?;
        let grads = Tensor::f_run_backward(&[&loss], params, false, false)?;
        let optimizer = AdamW {
            lr: options.lr * schedule(step as f64 / steps as f64),
            betas: (0.9, 0.99),
            weight_decay: options.weight_decay,
            eps: 1e-8,
        };
        optimizer.update(params, &grads, &exp_avgs, &exp_avg_sqs, &counts, None)?;

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
    Ok(n)
}

/// The mean of the attributes' cross-entropies.
fn loss(trainee: &Trainee, batch: &TrainBatch, step: u64, device: Device) -> Result<Tensor> {
    let logits = {
        let _autocast = Autocast::enter(device, Some(Kind::BFloat16))?;
        trainee.forward(&from_levels(&batch.levels), step)?
    };
    let of_head = |(i, logits): (usize, &Tensor)| {
        let labels = batch.labels.select(1, i as i64);
        logits.to_kind(Kind::Float).cross_entropy_for_logits(&labels)
    };
    let losses: Vec<Tensor> = logits.iter().enumerate().map(of_head).collect();
    Ok(Tensor::f_stack(&losses, 0)?.mean(Kind::Float))
}

/// The learning rate at a share of training: up in a twentieth, then down half a cosine (Loshchilov & Hutter 2017).
fn schedule(done: f64) -> f64 {
    let warmup = (done / 0.05).min(1.0);
    warmup * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}

/// Checks what every training needs.
pub(crate) fn check_options(options: &TrainOptions) -> Result<()> {
    for (key, value) in [("epochs", options.epochs as i64), ("batch_size", options.batch_size)] {
        if value < 1 {
            return Err(MetricError::Option { key, value, least: 1 });
        }
    }
    Ok(())
}

/// Checks a set, and that its images are of `shape` if there is one to keep to; returns their shape.
fn check(
    set: &LabelledImages,
    shape: Option<ImageShape>,
    attributes: &[Attribute],
) -> Result<ImageShape> {
    let size = set.images.size();
    let shape = shape.unwrap_or_else(|| match size[..] {
        [_, channels, height, width] => ImageShape { channels, height, width },
        _ => ImageShape { channels: 1, height: 0, width: 0 },
    });
    check_images(&set.images, shape.channels, Some((shape.height, shape.width)))?;
    let wanted = [size[0], attributes.len() as i64];
    if set.labels.size() != wanted || set.labels.kind() != Kind::Int64 {
        return Err(MetricError::Shape {
            what: "labels",
            expected: format!("Int64 {wanted:?}"),
            got: format!("{:?} {:?}", set.labels.kind(), set.labels.size()),
        });
    }
    if size[0] == 0 {
        return Err(MetricError::TooFew { what: "a classifier", needs: 1, got: 0 });
    }
    for (i, attribute) in attributes.iter().enumerate() {
        let labels = set.labels.select(1, i as i64);
        for value in [labels.min(), labels.max()].map(|value| value.int64_value(&[])) {
            if !(0..attribute.num_values()).contains(&value) {
                let (attribute, values) = (attribute.name.clone(), attribute.num_values());
                return Err(MetricError::Label { attribute, value, values });
            }
        }
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

    /// Stripes with their class, and with whether there is one.
    fn labelled(n: i64, seed: u64) -> LabelledImages {
        let (images, classes) = stripes(n, seed);
        let is_striped = classes.not_equal(2).to_kind(Kind::Int64);
        LabelledImages { images, labels: Tensor::stack(&[classes, is_striped], 1) }
    }

    fn attributes() -> Vec<Attribute> {
        let names = ["row", "column", "none"];
        vec![Attribute::new("class", names), Attribute::new("striped", ["no", "yes"])]
    }

    fn train_on(
        epoch: &dyn Fn(u64) -> LabelledImages,
        exam: &Exam,
        options: &TrainOptions,
    ) -> Result<(TrainedClassifier, Vec<TrainProgress>)> {
        let lessons = Lessons { dataset: "stripes", attributes: attributes(), epoch, fresh: true };
        let mut reports = Vec::new();
        let mut report = |progress| reports.push(progress);
        let device = Device::Cpu;
        let trained = train_classifier(&lessons, exam, Role::Judge, options, device, &mut report);
        Ok((trained?, reports))
    }

    fn train(options: &TrainOptions) -> (TrainedClassifier, Vec<TrainProgress>) {
        let exam = Exam { test: labelled(150, 1), held_out: Some(labelled(90, 2)) };
        train_on(&|epoch| labelled(600, 10 + epoch), &exam, options).unwrap()
    }

    #[test]
    fn learns_what_can_be_learnt_and_says_so() {
        let (trained, reports) = train(&options());
        let card = trained.classifier.card();
        let loaded = ClassifierFeatures::from_bytes(&trained.bytes, Device::Cpu).unwrap();
        let right =
            |set: LabelledImages| loaded.attribute_accuracy(&set.images, &set.labels).unwrap().each;
        let (test, held_out) = (right(labelled(150, 1)), right(labelled(90, 2)));
        for (i, learnt) in card.attributes.iter().enumerate() {
            assert!(learnt.test_accuracy > 0.95, "{learnt:?}");
            assert_eq!(
                (Some(learnt.test_accuracy), learnt.held_out_accuracy),
                (test[i], held_out[i])
            );
        }
        assert_eq!((card.attributes.len(), card.train_images, card.role), (2, 3600, Role::Judge));
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
        let exam = Exam { test: labelled(60, 0), held_out: None };
        let options = TrainOptions { lr: f64::NAN, ..options() };
        let result = train_on(&|_| labelled(60, 0), &exam, &options);
        assert!(matches!(result, Err(MetricError::Diverged { .. })), "{result:?}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let LabelledImages { images, labels } = labelled(9, 0);
        let train = |images: &Tensor, labels: &Tensor, options: &TrainOptions| {
            let set = LabelledImages { images: images.copy(), labels: labels.copy() };
            let exam = Exam { test: set.clone(), held_out: None };
            train_on(&|_| set.clone(), &exam, options).unwrap_err().to_string()
        };
        let message = train(&images, &labels.narrow(0, 0, 8), &options());
        assert_eq!(message, "labels must be Int64 [9, 2], but is Int64 [8, 2]");
        let message = train(&images, &(&labels + 1), &options());
        assert_eq!(message, "a label says 3 for class, which has the values 0 to 2");
        let message = train(&images.flatten(0, -1), &labels, &options());
        assert!(message.starts_with("images must be Uint8"), "{message}");
        let message = train(&images.narrow(0, 0, 0), &labels.narrow(0, 0, 0), &options());
        assert_eq!(message, "a classifier needs at least 1 images, but got 0");
        let empty = TrainOptions { batch_size: 0, ..options() };
        let message = train(&images, &labels, &empty);
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
