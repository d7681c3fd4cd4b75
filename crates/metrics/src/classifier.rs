//! A small classifier of the data's own domain: its penultimate activations are features, its logits judge classes.

use crate::{
    Card, FeatureExtractor, MetricError, OnImages, Result, Role, card,
    features::{check_images, in_batches},
    network::{BATCH, Network},
    weights,
};
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

    /// The network that judges classes for a dataset, on `device`.
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
            .map_err(|source| MetricError::Read { path: path.into(), source })?;
        Self::from_bytes(&bytes, device)
    }

    /// A network from the bytes of such a file.
    ///
    /// # Errors
    /// [`MetricError::Weights`] if they are something else.
    pub fn from_bytes(bytes: &[u8], device: Device) -> Result<Self> {
        let (card, network) = card::from_bytes(bytes, device)?;
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
        let predicted = self.logits(&self.features(images_u8)?)?.argmax(1, false);
        let right = predicted.eq_tensor(&classes.to_device(Device::Cpu));
        Ok(right.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]))
    }

    fn logits(&self, features: &Tensor) -> Result<Tensor> {
        in_batches(features, BATCH, self.card.num_classes, &mut |_, _| {}, |batch| {
            let batch = batch.to_device(self.network.device());
            Ok(self.network.logits(&batch).expect("a classifier has classes"))
        })
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
        Some(self.logits(features))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TrainOptions, card::to_bytes, noise_images, trainee::Trainee};
    use paragone_core::ImageShape;
    use safetensors::tensor::TensorView;

    const SHAPE: ImageShape = ImageShape { channels: 3, height: 10, width: 12 };

    /// The bytes of an untrained network, with a card that `change` may have altered.
    fn bytes(change: impl Fn(&mut Card)) -> Vec<u8> {
        let options = TrainOptions { widths: [4, 6, 8], feature_dim: 5, ..TrainOptions::default() };
        let network = Trainee::new(3, 7, &options, Device::Cpu).fold();
        let mut card = Card {
            dataset: "squares".into(),
            role: Role::Features,
            shape: SHAPE,
            num_classes: 7,
            options,
            train_images: 1,
            test_accuracy: 0.5,
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
        let mut on_images = |done, all| calls.push((done, all));
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
        assert!(message(&gray).ends_with("the card says 1 channels, the network has 3"));
        let empty = safetensors::serialize(Vec::<(String, TensorView<'_>)>::new(), &None).unwrap();
        assert!(message(&empty).ends_with("no card in the header"));
        let error = ClassifierFeatures::load(Path::new("/nowhere/weights"), Device::Cpu);
        assert!(error.unwrap_err().to_string().starts_with("cannot read /nowhere/weights: "));
    }
}
