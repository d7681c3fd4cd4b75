//! All feature scores of one set of images at once: the same for a model's samples and for calibration rows.

use crate::{
    Extrapolated, FeatureExtractor, KernelDistance, MetricError, Moments, Protocol, Result,
    draw_rows, frechet::RealGaussian, kernel::RealSubsets, moments::check_features,
    neighbours::RealBalls,
};
use paragone_core::mix;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

/// How scores are computed; the defaults are the field's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreOptions {
    /// Subsets of the kernel distance.
    pub kernel_subsets: i64,
    /// Images in each of them.
    pub kernel_subset_size: i64,
    /// Most images of each set that nearest-neighbour scores use.
    pub neighbour_images: i64,
    /// Neighbours of precision and recall.
    pub precision_recall_k: i64,
    /// Neighbours of density and coverage.
    pub density_coverage_k: i64,
    /// Seed of all subsets.
    pub subset_seed: u64,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self {
            kernel_subsets: 100,
            kernel_subset_size: 1000,
            neighbour_images: 10_000,
            precision_recall_k: 3,
            density_coverage_k: 5,
            subset_seed: 0,
        }
    }
}

impl ScoreOptions {
    /// The same options with subsets no larger than `samples` fake and `reference` real images allow. Nearest-neighbour
    /// scores then use as many real as fake images. These are the values that a protocol states.
    pub fn fitted(&self, samples: i64, reference: i64) -> Self {
        let fewest = samples.min(reference);
        Self {
            kernel_subset_size: self.kernel_subset_size.min(fewest),
            neighbour_images: self.neighbour_images.min(fewest),
            ..*self
        }
    }
}

/// The feature scores of a set of images. What each means is said where it is computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// See [`frechet_distance`](crate::frechet_distance).
    pub frechet_distance: f64,
    /// See [`frechet_distance_infinity`](crate::frechet_distance_infinity).
    pub frechet_distance_infinity: Extrapolated,
    /// See [`kernel_distance`](crate::kernel_distance).
    pub kernel_distance: KernelDistance,
    /// See [`precision_recall`](crate::precision_recall).
    pub precision: f64,
    /// See [`precision_recall`](crate::precision_recall).
    pub recall: f64,
    /// See [`density_coverage`](crate::density_coverage).
    pub density: f64,
    /// See [`density_coverage`](crate::density_coverage).
    pub coverage: f64,
}

/// Real features made ready to score several sets of as many images each.
#[derive(Debug)]
pub struct Reference {
    gaussian: RealGaussian,
    subsets: RealSubsets,
    balls: RealBalls,
    options: ScoreOptions,
    samples: i64,
}

impl Reference {
    /// Prepares `real_features`, f32 `[n, d]`, for scoring sets of `samples` images.
    ///
    /// # Errors
    /// [`MetricError::TooFew`] if the images do not suffice for a score.
    pub fn new(real_features: &Tensor, samples: i64, options: &ScoreOptions) -> Result<Self> {
        let features = real_features.to_device(Device::Cpu);
        let (n, _) = check_features(&features)?;
        let options = options.fitted(samples, n);
        let neighbours = neighbour_rows(&features, &options, 0);
        Ok(Self {
            gaussian: RealGaussian::new(&Moments::of(&features)?)?,
            subsets: RealSubsets::new(
                &features,
                options.kernel_subsets,
                options.kernel_subset_size,
                options.subset_seed,
            )?,
            balls: RealBalls::new(
                &neighbours,
                options.precision_recall_k,
                options.density_coverage_k,
            )?,
            options,
            samples,
        })
    }

    /// The options in force: those given, fitted to the numbers of images.
    pub fn options(&self) -> &ScoreOptions {
        &self.options
    }

    /// The protocol of scores against this reference, once told what it cannot know.
    pub fn protocol(
        &self,
        extractor: &dyn FeatureExtractor,
        reference_split: &str,
        reference_hash: &str,
        sample_seeds: &[u64],
    ) -> Protocol {
        Protocol {
            samples: self.samples,
            reference_split: reference_split.into(),
            reference_images: self.gaussian.count(),
            reference_hash: reference_hash.into(),
            features: extractor.name().into(),
            features_hash: extractor.hash().into(),
            kernel_subsets: self.options.kernel_subsets,
            kernel_subset_size: self.options.kernel_subset_size,
            neighbour_images: self.options.neighbour_images,
            precision_recall_k: self.options.precision_recall_k,
            density_coverage_k: self.options.density_coverage_k,
            subset_seed: self.options.subset_seed,
            sample_seeds: sample_seeds.into(),
        }
    }

    /// The Fréchet distance alone of `fake_features`, f32 `[n, d]`, of any number of images.
    ///
    /// # Errors
    /// As [`frechet_distance`](crate::frechet_distance), and [`MetricError::NotFinite`] for features that are not.
    pub fn frechet_distance(&self, fake_features: &Tensor) -> Result<f64> {
        // Below zero there is only rounding.
        Ok(self.gaussian.distance(&Moments::of(fake_features)?)?.max(0.0))
    }

    /// Scores `fake_features`, f32 `[samples, d]`.
    ///
    /// # Errors
    /// [`MetricError::Shape`] for another shape than that,
    /// [`MetricError::NotFinite`] for features that are not,
    /// [`MetricError::TooFew`] if the images do not suffice for a score.
    pub fn score(&self, fake_features: &Tensor) -> Result<Scores> {
        let fake = fake_features.to_device(Device::Cpu);
        let (n, dim) = check_features(&fake)?;
        if (n, dim) != (self.samples, self.gaussian.dim()) {
            return Err(MetricError::Shape {
                what: "features",
                expected: format!("[{}, {}]", self.samples, self.gaussian.dim()),
                got: format!("[{n}, {dim}]"),
            });
        }
        let options = &self.options;
        let (frechet_distance, frechet_distance_infinity) =
            self.gaussian.distances(&fake, mix(&[options.subset_seed, 3]))?;
        let (precision_recall, density_coverage) =
            self.balls.score(&neighbour_rows(&fake, options, 1))?;
        Ok(Scores {
            frechet_distance,
            frechet_distance_infinity,
            kernel_distance: self.subsets.score(&fake)?,
            precision: precision_recall.precision,
            recall: precision_recall.recall,
            density: density_coverage.density,
            coverage: density_coverage.coverage,
        })
    }
}

/// All feature scores of `fake_features` against `real_features`, f32 `[n, d]` each.
///
/// # Errors
/// As [`Reference::new`] and [`Reference::score`].
pub fn evaluate_sets(
    real_features: &Tensor,
    fake_features: &Tensor,
    options: &ScoreOptions,
) -> Result<Scores> {
    let (samples, _) = check_features(fake_features)?;
    Reference::new(real_features, samples, options)?.score(fake_features)
}

/// The rows that nearest-neighbour scores use: all, or a draw without replacement.
fn neighbour_rows(features: &Tensor, options: &ScoreOptions, set: u64) -> Tensor {
    let n = features.size()[0];
    if n == options.neighbour_images {
        return features.shallow_clone();
    }
    features.index_select(
        0,
        &draw_rows(n, options.neighbour_images, mix(&[options.subset_seed, set, 2])),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        RandomConvFeatures, density_coverage, frechet_distance, frechet_distance_infinity,
        kernel_distance, precision_recall, testing::features,
    };

    const OPTIONS: ScoreOptions = ScoreOptions {
        kernel_subsets: 5,
        kernel_subset_size: 100,
        neighbour_images: 200,
        precision_recall_k: 3,
        density_coverage_k: 5,
        subset_seed: 7,
    };

    #[test]
    fn all_at_once_is_each_by_itself() {
        let (real, fake) = (features(200, 8, 0), features(200, 8, 1) * 1.2);
        let scores = evaluate_sets(&real, &fake, &OPTIONS).unwrap();
        let moments = |x| Moments::of(x).unwrap();
        let frechet = frechet_distance(&moments(&real), &moments(&fake)).unwrap();
        assert!((scores.frechet_distance - frechet).abs() < 1e-12);
        assert_eq!(
            scores.frechet_distance_infinity,
            frechet_distance_infinity(&moments(&real), &fake, mix(&[7, 3])).unwrap()
        );
        assert_eq!(scores.kernel_distance, kernel_distance(&real, &fake, 5, 100, 7).unwrap());
        let pr = precision_recall(&real, &fake, 3).unwrap();
        assert_eq!((scores.precision, scores.recall), (pr.precision, pr.recall));
        let dc = density_coverage(&real, &fake, 5).unwrap();
        assert_eq!((scores.density, scores.coverage), (dc.density, dc.coverage));
    }

    #[test]
    fn a_reference_scores_set_after_set() {
        let real = features(500, 8, 0);
        let reference = Reference::new(&real, 150, &OPTIONS).unwrap();
        assert_eq!(reference.options().neighbour_images, 150);
        let scores = |scale: f64| reference.score(&(features(150, 8, 1) * scale)).unwrap();
        assert_eq!(scores(1.0), evaluate_sets(&real, &features(150, 8, 1), &OPTIONS).unwrap());
        assert!(scores(1.0).frechet_distance < scores(2.0).frechet_distance);
        // Of another number of images there is the plain distance.
        let [of_real, of_fake] = [&real, &features(60, 8, 1)].map(|x| Moments::of(x).unwrap());
        let want = frechet_distance(&of_real, &of_fake).unwrap();
        assert_eq!(reference.frechet_distance(&features(60, 8, 1)).unwrap(), want);
        let error = reference.score(&features(149, 8, 1)).unwrap_err().to_string();
        assert_eq!(error, "features must be [150, 8], but is [149, 8]");
    }

    #[test]
    fn a_protocol_states_what_was_done() {
        let extractor = RandomConvFeatures::new(1, Device::Cpu);
        let reference = Reference::new(&features(90, 4, 0), 60, &OPTIONS).unwrap();
        let protocol = reference.protocol(&extractor, "test", "ab", &[4]);
        assert_eq!(protocol.samples, 60);
        assert_eq!(protocol.reference_images, 90);
        assert_eq!(protocol.kernel_subset_size, 60);
        assert_eq!(protocol.neighbour_images, 60);
        assert_eq!(protocol.features, "random-conv");
        assert_eq!(protocol.features_hash, extractor.hash());
    }

    #[test]
    fn names_are_the_field_s() {
        let scores = evaluate_sets(&features(50, 4, 0), &features(50, 4, 1), &OPTIONS).unwrap();
        let json = serde_json::to_value(scores).unwrap();
        let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let want = [
            "coverage",
            "density",
            "frechet_distance",
            "frechet_distance_infinity",
            "kernel_distance",
            "precision",
            "recall",
        ];
        assert_eq!(names, want);
        for (score, part) in [
            ("frechet_distance_infinity", "value"),
            ("frechet_distance_infinity", "standard_error"),
            ("kernel_distance", "mean"),
            ("kernel_distance", "std"),
        ] {
            assert!(json[score][part].is_f64(), "{score}.{part}");
        }
        assert!(json["kernel_distance"]["interval"]["low"].is_f64());
    }

    fn numbers(scores: &Scores) -> [f64; 11] {
        let Scores { kernel_distance: kernel, frechet_distance_infinity: infinity, .. } = scores;
        [
            scores.frechet_distance,
            infinity.value,
            infinity.standard_error,
            kernel.mean,
            kernel.std,
            kernel.interval.low,
            kernel.interval.high,
            scores.precision,
            scores.recall,
            scores.density,
            scores.coverage,
        ]
    }

    /// Sets without spread, with copies, with fewer images than dimensions: numbers for all of them.
    #[test]
    fn degenerate_sets_have_scores() {
        let usual = features(40, 8, 0);
        let wide = |seed| features(10, 64, seed);
        let constant = Tensor::ones([40, 8], (tch::Kind::Float, Device::Cpu));
        let partly = Tensor::cat(&[features(40, 4, 3), constant.narrow(1, 0, 4)], 1);
        let duplicates = features(10, 8, 4).repeat([4, 1]);
        let offset = |x: &Tensor| x + 1e4;
        let huge = |x: &Tensor| x * 1e15;
        for (name, real, fake) in [
            ("equal sets", usual.shallow_clone(), usual.shallow_clone()),
            ("fewer images than dimensions", wide(0), wide(1)),
            ("constant fakes", usual.shallow_clone(), constant.shallow_clone()),
            ("constant reals", constant.shallow_clone(), usual.shallow_clone()),
            ("all equal", constant.shallow_clone(), constant.shallow_clone()),
            ("all zero", constant.zeros_like(), constant.zeros_like()),
            ("constant features", partly.shallow_clone(), partly * 2.0),
            ("duplicates", usual.shallow_clone(), duplicates.shallow_clone()),
            ("duplicates everywhere", duplicates.shallow_clone(), duplicates),
            ("large offset", offset(&usual), offset(&features(40, 8, 1))),
            ("large", huge(&usual), huge(&features(40, 8, 1))),
            ("one dimension", features(40, 1, 0), features(40, 1, 1)),
        ] {
            let scores = evaluate_sets(&real, &fake, &OPTIONS).unwrap();
            let finite = numbers(&scores).iter().all(|number| number.is_finite());
            assert!(finite && scores.frechet_distance >= 0.0, "{name}: {scores:?}");
            let shares = [scores.precision, scores.recall, scores.coverage];
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{name}: {scores:?}");
        }
    }

    #[test]
    fn sets_without_a_score_are_errors() {
        let usual = features(40, 8, 0);
        let error = |real: &Tensor, fake: &Tensor| {
            evaluate_sets(real, fake, &OPTIONS).unwrap_err().to_string()
        };
        let at = |row: i64, value: f64| {
            let features = usual.copy();
            let _ = features.get(row).get(2).fill_(value);
            features
        };
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(error(&at(7, value), &usual), "the features of image 7 are not finite");
            assert_eq!(error(&usual, &at(31, value)), "the features of image 31 are not finite");
        }
        for n in [0, 1, 2, 3] {
            let few = usual.narrow(0, 0, n);
            assert!(!error(&usual, &few).contains("NaN"));
            assert!(!error(&few, &usual).contains("NaN"));
        }
        assert_eq!(error(&usual, &features(40, 7, 0)), "features must be [40, 8], but is [40, 7]");
        assert!(error(&usual, &(&usual * 1e30)).contains("beyond the range of numbers"));
    }
}
