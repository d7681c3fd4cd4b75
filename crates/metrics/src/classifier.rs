//! A small classifier of the data's own domain: its penultimate activations are features, its logits judge what is shown.

use crate::{
    AttributeAccuracy, Card, FeatureExtractor, MetricError, OnImages, Reading, Result, Role, card,
    features::{check_images, in_batches, unwatched},
    network::{BATCH, Network},
    weights,
};
use paragone_core::Attribute;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A frozen classifier as a feature extractor.
#[derive(Debug)]
pub struct ClassifierFeatures {
    name: String,
    hash: String,
    card: Card,
    network: Network,
}

impl ClassifierFeatures {
    /// The feature network that comes with this crate for a dataset, on `device`.
    ///
    /// # Errors
    /// [`MetricError::NoWeights`] for a dataset that has none: use [`RandomConvFeatures`](crate::RandomConvFeatures).
    pub fn for_dataset(dataset: &str, device: Device) -> Result<Self> {
        Self::embedded(dataset, Role::Features, device)
    }

    /// The network that judges classes and other attributes for a dataset, on `device`.
    ///
    /// # Errors
    /// [`MetricError::NoWeights`] for a dataset that has none.
    pub fn judge_for_dataset(dataset: &str, device: Device) -> Result<Self> {
        Self::embedded(dataset, Role::Judge, device)
    }

    fn embedded(dataset: &str, role: Role, device: Device) -> Result<Self> {
        Self::from_bytes(weights::find(dataset, role)?, device)
    }

    /// A network from a file that [`train_classifier`](crate::train_classifier) made.
    ///
    /// # Errors
    /// [`MetricError::Read`] if there is no such file, [`MetricError::Weights`] if it is something else.
    pub fn load(path: &Path, device: Device) -> Result<Self> {
        let bytes = std::fs::read(path)
            .map_err(|reason| MetricError::Read { path: path.into(), reason })?;
        Self::from_bytes(&bytes, device)
    }

    /// A network from the bytes of such a file.
    ///
    /// # Errors
    /// [`MetricError::Weights`] if they are something else.
    pub fn from_bytes(bytes: &[u8], device: Device) -> Result<Self> {
        let (card, network) = card::from_bytes(bytes, device)?;
        let first = card.attributes.first().map(|learnt| learnt.attribute.name.as_str());
        if first != Some(Attribute::CLASS) {
            let message = format!("the first attribute is {first:?}, not the class");
            return Err(MetricError::Weights { message });
        }
        let kind = if card.role == Role::Features { "classifier" } else { "judge" };
        let name = format!("{kind}/{}", card.dataset);
        Ok(Self { name, hash: card::sha256(bytes), card, network })
    }

    /// How this network came to be.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Share of `images_u8`, u8 `[n, c, h, w]`, that the network assigns to `classes`, i64 `[n]`: the accuracy of
    /// conditional samples, when this is a judge.
    ///
    /// # Errors
    /// [`MetricError::Shape`] for images that do not fit, or for another number of classes than of images;
    /// [`MetricError::TooFew`] for none.
    pub fn class_accuracy(&self, images_u8: &Tensor, classes: &Tensor) -> Result<f64> {
        let n = images_u8.size().first().copied().unwrap_or(0);
        if classes.size() != [n] {
            return Err(MetricError::Shape {
                what: "classes",
                expected: format!("[{n}]"),
                got: format!("{:?}", classes.size()),
            });
        }
        if n == 0 {
            return Err(MetricError::TooFew { what: "class accuracy", needs: 1, got: 0 });
        }
        let predicted = self.read(images_u8)?.values.select(1, 0);
        let right = predicted.eq_tensor(&classes.to_device(Device::Cpu));
        Ok(right.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]))
    }

    /// What `images_u8`, u8 `[n, c, h, w]`, show of every attribute on the card.
    ///
    /// # Errors
    /// [`MetricError::Shape`] for images that do not fit.
    pub fn read(&self, images_u8: &Tensor) -> Result<Reading> {
        self.check(images_u8)?;
        let logits = self.logits(&self.features(images_u8)?)?;
        let likeliest: Vec<Tensor> = logits.iter().map(|logits| logits.argmax(1, false)).collect();
        Ok(Reading { values: Tensor::f_stack(&likeliest, 1)?, logits })
    }

    /// Shares of `images_u8`, u8 `[n, c, h, w]`, that show what was `asked`, i64 `[n, attributes]`: values of the card's
    /// attributes, negative where any will do.
    ///
    /// # Errors
    /// [`MetricError::Shape`] for images or attributes that do not fit, [`MetricError::TooFew`] for none.
    pub fn attribute_accuracy(
        &self,
        images_u8: &Tensor,
        asked: &Tensor,
    ) -> Result<AttributeAccuracy> {
        self.read(images_u8)?.accuracy(asked)
    }

    /// Logits of every attribute from features, f32 `[n, d]`.
    fn logits(&self, features: &Tensor) -> Result<Vec<Tensor>> {
        let counts: Vec<i64> = self.network.attributes().map(|(_, values)| values).collect();
        let logits = in_batches(features, BATCH, counts.iter().sum(), &mut unwatched, |batch| {
            self.network.logits(&batch.to_device(self.network.device()))
        })?;
        Ok(logits.f_split_with_sizes(&counts, 1)?)
    }

    fn check(&self, images_u8: &Tensor) -> Result<()> {
        let shape = self.card.shape;
        check_images(images_u8, shape.channels, Some((shape.height, shape.width)))
    }
}

impl FeatureExtractor for ClassifierFeatures {
    fn name(&self) -> &str {
        &self.name
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn dim(&self) -> i64 {
        self.network.dim()
    }

    fn features_with_progress(
        &self,
        images_u8: &Tensor,
        on_images: OnImages<'_>,
    ) -> Result<Tensor> {
        self.check(images_u8)?;
        in_batches(images_u8, BATCH, self.dim(), on_images, |batch| self.network.features(batch))
    }

    fn logits_of_features(&self, features: &Tensor) -> Option<Result<Tensor>> {
        Some(self.logits(features).map(|mut logits| logits.swap_remove(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Learnt, TrainOptions, card::to_bytes, noise_images, trainee::Trainee};
    use paragone_core::ImageShape;
    use safetensors::tensor::TensorView;
    use std::ops::ControlFlow;

    const SHAPE: ImageShape = ImageShape { channels: 3, height: 10, width: 12 };

    /// The bytes of an untrained network, with a card that `change` may have altered.
    fn bytes(change: impl Fn(&mut Card)) -> Vec<u8> {
        let options = TrainOptions { widths: [4, 6, 8], feature_dim: 5, ..TrainOptions::default() };
        let attributes = [
            Attribute::new("class", ["a", "b", "c", "d", "e", "f", "g"]),
            Attribute::new("size", ["small", "large"]),
        ];
        let heads = [("class", 7), ("size", 2)];
        let network = Trainee::new(3, &heads, &options, Device::Cpu).fold();
        let attributes = attributes.map(|attribute| Learnt {
            attribute,
            test_accuracy: 0.5,
            held_out_accuracy: None,
        });
        let mut card = Card {
            dataset: "squares".into(),
            role: Role::Features,
            shape: SHAPE,
            attributes: attributes.to_vec(),
            options,
            train_images: 1,
        };
        change(&mut card);
        to_bytes(&network, &card)
    }

    fn classifier() -> ClassifierFeatures {
        ClassifierFeatures::from_bytes(&bytes(|_| ()), Device::Cpu).unwrap()
    }

    #[test]
    fn a_network_survives_its_file() {
        let (first, second) = (classifier(), classifier());
        assert_eq!(first.hash(), second.hash());
        assert_eq!(first.hash().len(), 64);
        assert_eq!((first.name(), first.dim()), ("classifier/squares", 5));
        let images = noise_images(9, SHAPE, 0);
        assert!(first.features(&images).unwrap().equal(&second.features(&images).unwrap()));
        let other = ClassifierFeatures::from_bytes(&bytes(|c| c.role = Role::Judge), Device::Cpu);
        let other = other.unwrap();
        assert_eq!(other.name(), "judge/squares");
        assert_ne!(other.hash(), first.hash());
    }

    #[test]
    fn features_do_not_depend_on_the_batch() {
        let classifier = classifier();
        let images = noise_images(1003, SHAPE, 0);
        let mut calls = Vec::new();
        let mut on_images = |done, all| {
            calls.push((done, all));
            ControlFlow::Continue(())
        };
        let all = classifier.features_with_progress(&images, &mut on_images).unwrap();
        assert_eq!(calls, [(500, 1003), (1000, 1003), (1003, 1003)]);
        assert_eq!((all.size(), all.kind()), (vec![1003, 5], Kind::Float));
        for (start, len) in [(0, 1), (499, 2), (700, 303)] {
            let part = classifier.features(&images.narrow(0, start, len)).unwrap();
            let apart = (part - all.narrow(0, start, len)).abs().max().double_value(&[]);
            assert!(apart < 1e-5, "{apart}");
        }
        assert!(all.min().double_value(&[]) >= 0.0 && all.max().double_value(&[]) > 0.0);
        assert_eq!(classifier.features(&images.narrow(0, 0, 0)).unwrap().size(), [0, 5]);
    }

    /// What is finished is not thrown away.
    #[test]
    fn features_stop_within_a_batch_but_not_after_the_last() {
        let classifier = classifier();
        let mut calls = 0;
        let mut stop = |_, _| {
            calls += 1;
            ControlFlow::Break(())
        };
        let two = noise_images(501, SHAPE, 0);
        let stopped = classifier.features_with_progress(&two, &mut stop);
        assert!(matches!(stopped, Err(MetricError::Stopped)), "{stopped:?}");
        let one = classifier.features_with_progress(&two.narrow(0, 0, 500), &mut stop).unwrap();
        assert_eq!((one.size(), calls), (vec![500, 5], 2));
    }

    #[test]
    fn accuracy_counts_what_the_logits_say() {
        let classifier = classifier();
        let images = noise_images(40, SHAPE, 0);
        let features = classifier.features(&images).unwrap();
        let logits = classifier.logits_of_features(&features).unwrap().unwrap();
        assert_eq!(logits.size(), [40, 7]);
        let said = logits.argmax(1, false);
        assert_eq!(classifier.class_accuracy(&images, &said).unwrap(), 1.0);
        let asked = said.copy();
        asked.narrow(0, 0, 10).copy_(&((said.narrow(0, 0, 10) + 1).remainder(7)));
        assert_eq!(classifier.class_accuracy(&images, &asked).unwrap(), 0.75);
    }

    #[test]
    fn every_attribute_is_read_from_its_own_logits() {
        let classifier = classifier();
        let images = noise_images(30, SHAPE, 1);
        let reading = classifier.read(&images).unwrap();
        let sizes: Vec<_> = reading.logits.iter().map(Tensor::size).collect();
        assert_eq!(sizes, [[30, 7], [30, 2]]);
        for (i, logits) in reading.logits.iter().enumerate() {
            assert!(logits.argmax(1, false).equal(&reading.values.select(1, i as i64)));
        }
        let asked = reading.values.copy();
        let _ = asked.select(1, 0).fill_(-1);
        let _ = asked.narrow(0, 0, 3).select(1, 1).bitwise_xor_(1);
        let accuracy = classifier.attribute_accuracy(&images, &asked).unwrap();
        assert_eq!((accuracy.each, accuracy.all), (vec![None, Some(0.9)], 0.9));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let classifier = classifier();
        let expect = |result: Result<Tensor>, message: &str| {
            assert_eq!(result.unwrap_err().to_string(), message);
        };
        let images = noise_images(2, SHAPE, 0);
        expect(
            classifier.features(&images.narrow(1, 0, 1)),
            "images must be Uint8 [n, 3, 10, 12], but is Uint8 [2, 1, 10, 12]",
        );
        expect(
            classifier.features(&images.to_kind(Kind::Float)),
            "images must be Uint8 [n, 3, 10, 12], but is Float [2, 3, 10, 12]",
        );
        let three = Tensor::zeros([3], (Kind::Int64, Device::Cpu));
        let error = classifier.class_accuracy(&images, &three).unwrap_err().to_string();
        assert_eq!(error, "classes must be [2], but is [3]");
        let error = classifier.class_accuracy(&images.narrow(0, 0, 0), &three.narrow(0, 0, 0));
        assert!(matches!(error, Err(MetricError::TooFew { .. })));
    }

    #[test]
    fn other_files_are_named() {
        let message = |bytes: &[u8]| {
            ClassifierFeatures::from_bytes(bytes, Device::Cpu).unwrap_err().to_string()
        };
        let good = bytes(|_| ());
        for cut in [0, 7, 100, good.len() - 1] {
            assert!(message(&good[..cut]).starts_with("not a classifier's weights: "));
        }
        let gray = bytes(|card| card.shape.channels = 1);
        assert!(message(&gray).ends_with("the card says 1 of channels, the network has 3"));
        let fewer = bytes(|card| card.attributes[1].attribute.values.truncate(1));
        assert!(message(&fewer).ends_with("the card says 1 of size, the network has 2"));
        let other = bytes(|card| card.attributes[1].attribute.name = "colour".into());
        assert!(message(&other).ends_with("heads.colour.weight is missing"));
        let classless = bytes(|card| card.attributes.rotate_left(1));
        assert!(
            message(&classless).ends_with("the first attribute is Some(\"size\"), not the class")
        );
        let empty = safetensors::serialize(Vec::<(String, TensorView<'_>)>::new(), &None).unwrap();
        assert!(message(&empty).ends_with("no card in the header"));
        let error = ClassifierFeatures::load(Path::new("/nowhere/weights"), Device::Cpu);
        assert!(error.unwrap_err().to_string().starts_with("cannot read /nowhere/weights: "));
    }
}
