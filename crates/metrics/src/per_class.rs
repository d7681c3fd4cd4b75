//! Fréchet distances class by class: a model can match the whole and fail a class.

use crate::{
    MetricError, Moments, Result,
    frechet::RealGaussian,
    moments::{check_features, dimension_mismatch},
};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The Fréchet distance of the images of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassDistance {
    /// The class's id.
    pub class: i64,
    /// Real images of it.
    pub real: i64,
    /// Generated images of it.
    pub fake: i64,
    /// The distance, or why there is none.
    pub distance: std::result::Result<f64, String>,
}

/// Fewest images of a class, real and generated, that a distance is taken of.
///
/// Distances fall as images are added, and much so while they are fewer than the features' dimensions: never compare them
/// but for as many images, such as with the floor, which is what as many real test images of the class score.
pub const FEWEST_IN_CLASS: i64 = 50;

/// Real features by class, ready to score several sets.
#[derive(Debug)]
pub struct ClassReference {
    dim: i64,
    /// By class: number of images and, of those with enough of them, their Gaussian.
    classes: Vec<(i64, Option<RealGaussian>)>,
}

impl ClassReference {
    /// Prepares `features`, any float kind `[n, d]`, with their `classes`, i64 `[n]` in `0..num_classes`.
    ///
    /// # Errors
    /// [`MetricError::Shape`] for classes of another shape or range, and as [`Moments::of`] for the features.
    pub fn new(features: &Tensor, classes: &Tensor, num_classes: i64) -> Result<Self> {
        let (_, dim) = check_features(features)?;
        let classes = by_class(features, classes, num_classes)?
            .into_iter()
            .map(|rows| {
                let moments = Moments::of(&rows)?;
                let enough = moments.count() >= FEWEST_IN_CLASS;
                let gaussian = enough.then(|| RealGaussian::new(&moments)).transpose()?;
                Ok((moments.count(), gaussian))
            })
            .collect::<Result<_>>()?;
        Ok(Self { dim, classes })
    }

    /// The distance of every class of `features`, any float kind `[m, d]`, with their `classes`, i64 `[m]`: those that images
    /// were asked for, or that test images have. A class with too few images has a reason instead.
    ///
    /// # Errors
    /// As [`ClassReference::new`], and [`MetricError::Overflow`] for features too large.
    pub fn score(&self, features: &Tensor, classes: &Tensor) -> Result<Vec<ClassDistance>> {
        let (_, dim) = check_features(features)?;
        if dim != self.dim {
            return Err(dimension_mismatch(self.dim, dim));
        }
        let sets = by_class(features, classes, self.classes.len() as i64)?;
        let scores =
            sets.into_iter().zip(&self.classes).enumerate().map(|(class, (rows, real))| {
                let (real, gaussian) = real;
                let fake = rows.size()[0];
                let distance = match gaussian {
                    None => Err(too_few("real", *real)),
                    Some(_) if fake < FEWEST_IN_CLASS => Err(too_few("generated", fake)),
                    Some(gaussian) => Ok(gaussian.distance(&Moments::of(&rows)?)?.max(0.0)),
                };
                Ok(ClassDistance { class: class as i64, real: *real, fake, distance })
            });
        scores.collect()
    }
}

fn too_few(which: &str, images: i64) -> String {
    format!("there are {images} {which} images of the class; a distance needs {FEWEST_IN_CLASS}")
}

/// The rows of every class.
fn by_class(features: &Tensor, classes: &Tensor, num_classes: i64) -> Result<Vec<Tensor>> {
    let n = features.size()[0];
    let (features, classes) = (features.to_device(Device::Cpu), classes.to_device(Device::Cpu));
    let wrong = |got: String| {
        let expected = format!("Int64 [{n}] in 0..{num_classes}");
        Err(MetricError::Shape { what: "classes", expected, got })
    };
    if classes.kind() != Kind::Int64 || classes.size() != [n] {
        return wrong(format!("{:?} {:?}", classes.kind(), classes.size()));
    }
    if n > 0 {
        let (least, most) = (classes.min().int64_value(&[]), classes.max().int64_value(&[]));
        if least < 0 || most >= num_classes {
            return wrong(format!("in {least}..={most}"));
        }
    }
    let rows = |class| features.index_select(0, &classes.eq(class).nonzero().squeeze_dim(1));
    Ok((0..num_classes).map(rows).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frechet_distance, testing::features};

    /// Classes 0 and 1 in turn, and 10 images of class 2.
    fn classes(n: i64) -> Tensor {
        let ids: Vec<i64> = (0..n).map(|i| if i < n - 10 { i % 2 } else { 2 }).collect();
        Tensor::from_slice(&ids)
    }

    #[test]
    fn a_class_is_scored_like_a_set_of_its_own() {
        let (real, fake) = (features(210, 4, 0), features(310, 4, 1));
        // Class 1 is off, class 0 is not.
        let off = classes(310).eq(1).to_kind(Kind::Float).unsqueeze(1) * 2.0;
        let fake = fake + off;
        let reference = ClassReference::new(&real, &classes(210), 4).unwrap();
        let scores = reference.score(&fake, &classes(310)).unwrap();
        let counts: Vec<_> = scores.iter().map(|s| (s.class, s.real, s.fake)).collect();
        assert_eq!(counts, [(0, 100, 150), (1, 100, 150), (2, 10, 10), (3, 0, 0)]);
        for class in 0..2 {
            let part = |x: &Tensor, n: i64| {
                let rows: Vec<i64> = (0..n - 10).filter(|i| i % 2 == class).collect();
                Moments::of(&x.index_select(0, &Tensor::from_slice(&rows))).unwrap()
            };
            let want = frechet_distance(&part(&real, 210), &part(&fake, 310)).unwrap();
            assert_eq!(scores[class as usize].distance, Ok(want));
        }
        let [fine, off] = [0, 1].map(|class: usize| *scores[class].distance.as_ref().unwrap());
        assert!(fine < 0.5 && off > 10.0, "{fine} {off}");
        let reason = "there are 10 real images of the class; a distance needs 50";
        assert_eq!(scores[2].distance, Err(reason.to_owned()));
        assert_eq!(scores[3].distance.as_ref().unwrap_err().split(' ').nth(2), Some("0"));
    }

    #[test]
    fn too_few_generated_images_are_a_reason_and_wrong_classes_an_error() {
        let real = features(210, 4, 0);
        let reference = ClassReference::new(&real, &classes(210), 3).unwrap();
        let scores = reference.score(&real.narrow(0, 0, 60), &classes(60)).unwrap();
        let reason = "there are 25 generated images of the class; a distance needs 50";
        assert_eq!(scores[0].distance, Err(reason.to_owned()));
        let error = reference.score(&real, &(classes(210) + 1)).unwrap_err().to_string();
        assert_eq!(error, "classes must be Int64 [210] in 0..3, but is in 1..=3");
        assert!(reference.score(&real, &classes(60)).is_err());
        assert!(reference.score(&features(210, 5, 0), &classes(210)).is_err());
        assert!(reference.score(&(&real / 0.0), &classes(210)).is_err());
    }
}
