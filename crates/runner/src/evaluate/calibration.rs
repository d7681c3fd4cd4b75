//! Rows of known quality: the scale that models' scores are read on.

use super::{
    Basis, NOTHING_ASKED, References, Scored,
    captions::{CaptionScores, Captions},
    editing::Editing,
    extras::inception_scores,
    inpainting::Inpainting,
    likelihood::LikelihoodScore,
    references::Space,
    truth::Known,
};
use crate::{
    config::Experiment,
    data::RunData,
    interrupt,
    log::Reporter,
    prompts::{Prompts, nearest_captions},
};
use anyhow::Result;
use paragone_core::mix;
use paragone_data::{Condition, ImageSet, shapes::TrueScores};
use paragone_metrics::{
    ClassDistance, ClassReference, Defect, draw_rows, mean_image, noise_images,
};
use paragone_report::Baseline;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Test images whose likelihood under their own distribution is computed, at most: it hardly varies between them.
const TRUE_LIKELIHOOD_IMAGES: i64 = 1_000;

/// Scores of images of known quality: saved as `calibration.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What they depend on.
    pub basis: Basis,
    /// Fréchet distance of every class of as many test images as there are samples, or that there are too few; empty without
    /// classes.
    pub per_class: Vec<ClassDistance>,
    /// The rows, in the order to be shown.
    pub rows: Vec<CalibrationScores>,
    /// What filling holes and editing are compared with.
    #[serde(default)]
    pub baselines: Vec<Baseline>,
}

/// Scores of one set of known quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationScores {
    /// Such as `test_set` or `noise`.
    pub name: String,
    /// Feature scores, or why there are none.
    pub features: Result<Scored, String>,
    /// The reference split that the images are from: they are not compared with themselves.
    pub from: Option<String>,
    /// Inception Score, one entry an evaluation seed; or why there is none.
    pub inception_score: Result<Vec<f64>, String>,
    /// What the known distribution of the data says, one entry an evaluation seed; `None` where it is not known.
    pub truth: Option<Vec<TrueScores>>,
    /// How much of what captions say is in images of the first evaluation seed, where that can be judged.
    pub captions: Option<CaptionScores>,
    /// Likelihood under that distribution, of test images only.
    pub likelihood: Option<LikelihoodScore>,
    /// Share of images in which the judge finds their class, or all that their caption says, one entry an evaluation seed; or
    /// why there is none.
    pub conditional_accuracy: Result<Vec<f64>, String>,
}

/// The row of training images with the captions nearest to those asked for.
const NEAREST_CAPTION: &str = "nearest_caption";

/// The row of training images with other captions: what is asked for is in them by chance.
const RANDOM_CAPTION: &str = "random_caption";

/// Images of one row, one set an evaluation seed.
struct Row {
    name: String,
    images: Vec<Tensor>,
    origin: Origin,
    /// What a model would have been asked for to make them, where they show something.
    prompts: Option<Vec<Prompts>>,
}

/// What is known of a row's images before any network has seen them.
enum Origin {
    /// They are these rows of a split, i64 `[n]` an evaluation seed.
    Split(&'static str, Vec<Tensor>),
    /// They are one image, many times.
    OneImage,
    /// Nothing.
    Made,
}

impl Row {
    /// Images in each set.
    fn len(&self) -> i64 {
        self.images[0].size()[0]
    }

    /// Features of the images, f32 `[n, d]` an evaluation seed. Real images have theirs already, if those of the split are held.
    fn features(&self, space: &Space) -> Result<Vec<Tensor>> {
        match &self.origin {
            Origin::Split(split, rows) => match space.real(split) {
                Some(real) => Ok(rows.iter().map(|rows| real.index_select(0, rows)).collect()),
                None => space.features(&self.images),
            },
            Origin::OneImage => {
                let one = space.extractor.features(&self.images[0].narrow(0, 0, 1))?;
                let all = one.expand([self.len(), -1], false);
                Ok(self.images.iter().map(|_| all.shallow_clone()).collect())
            }
            Origin::Made => space.features(&self.images),
        }
    }

    /// What the known distribution says of them, one entry an evaluation seed; `None` when the user asked to stop.
    fn truth(&self, known: &Known) -> Result<Option<Vec<TrueScores>>> {
        let Origin::OneImage = self.origin else { return known.scores(&self.images) };
        let scores =
            known.scores_of_copies(&self.images[0].narrow(0, 0, 1), self.len() as usize)?;
        Ok(scores.map(|scores| vec![scores; self.images.len()]))
    }
}

/// What rows are scored with.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// What images are compared with.
    pub references: &'a References,
    /// Training images by class, where there are classes.
    pub by_class: Option<&'a ClassReference>,
    /// The distribution of the data, where it is known.
    pub known: Option<&'a Known>,
    /// What captions are judged with, where they can be.
    pub captions: Option<&'a Captions>,
    /// The holes to fill, if there are any.
    pub inpainting: Option<&'a Inpainting<'a>>,
    /// The pictures to edit, if there are any.
    pub editing: Option<&'a Editing<'a>>,
    /// The run's data.
    pub data: &'a RunData,
    /// The experiment.
    pub experiment: &'a Experiment,
}

/// Scores test images, a copy of training images, defects, the mean image and noise, and for captions the training images with
/// the nearest captions and with random ones; `None` when the user asked to stop.
pub fn calibrate(scene: &Scene, basis: &Basis) -> Result<Option<Calibration>> {
    let &Scene { references, by_class, known, data, experiment, .. } = scene;
    let rows = rows(references, data)?;
    let mut reporter = Reporter::new("calibration", "rows", 0, rows.len() as u64);
    let mut scored = Vec::new();
    for row in rows {
        let Some(scores) = score(scene, row)? else { return Ok(None) };
        scored.push(scores);
        reporter.set(scored.len() as u64);
        if interrupt::asked() {
            return Ok(None);
        }
    }
    reporter.finish();
    let test = data.test()?;
    let per_class = match by_class.zip(test.classes.as_ref()) {
        None => Vec::new(),
        Some((by_class, classes)) => {
            let n = references.samples.min(test.len());
            let features = references.headline.test.narrow(0, 0, n);
            let floor = by_class.score(&features, &classes.narrow(0, 0, n))?;
            let comparable = |class: ClassDistance| ClassDistance {
                distance: enough("test", n, references.samples).and(class.distance),
                ..class
            };
            floor.into_iter().map(comparable).collect()
        }
    };
    // What a caption leaves of the probability is not known: unlike the models', that figure would be of images alone.
    let known = known.filter(|_| experiment.data.condition != Condition::Text);
    if let Some(known) = known {
        let images = (experiment.eval.likelihood_images as i64).min(TRUE_LIKELIHOOD_IMAGES);
        let conditional = experiment.data.condition == Condition::Class;
        let test_set = scored.iter_mut().find(|row| row.from.is_some()).expect("the first row");
        test_set.likelihood = known.bits_per_dim(test, images, conditional)?;
    }
    let mut baselines = Vec::new();
    if let Some(inpainting) = scene.inpainting {
        let Some(scored) = inpainting.baselines()? else { return Ok(None) };
        baselines.extend(scored.into_iter().map(|(name, scores)| Baseline {
            run: None,
            name: name.to_owned(),
            inpainting: Some(scores),
            editing: None,
        }));
    }
    if let Some(editing) = scene.editing {
        baselines.extend(editing.baselines()?.into_iter().map(|(name, scores)| Baseline {
            run: None,
            name: name.to_owned(),
            inpainting: None,
            editing: Some(scores),
        }));
    }
    Ok(Some(Calibration { basis: basis.clone(), per_class, rows: scored, baselines }))
}

fn rows(references: &References, data: &RunData) -> Result<Vec<Row>> {
    let n = references.samples;
    let test = data.test()?;
    let each = |make: &dyn Fn(u64) -> Tensor| -> Vec<Tensor> {
        references.seeds.iter().map(|&seed| make(seed)).collect()
    };
    // With fewer images than samples, rows made of them repeat none, and are not scored.
    let drawn = |set: &ImageSet, what: u64, seed: u64| {
        draw_rows(set.len(), n.min(set.len()), mix(&[seed, what]))
    };
    let of_rows = |name: &str, (split, set): (&'static str, &ImageSet), rows: Vec<Tensor>| Row {
        name: name.to_owned(),
        images: rows.iter().map(|rows| set.images.index_select(0, rows)).collect(),
        prompts: Some(rows.iter().map(|rows| Prompts::of_rows(set, rows, &data.spec)).collect()),
        origin: Origin::Split(split, rows),
    };
    let of_test =
        |name: &str, rows: &dyn Fn(u64) -> Tensor| of_rows(name, ("test", test), each(rows));
    let test_rows = |seed| drawn(test, 4, seed);
    let train = ("train", &data.train);
    let mut rows = vec![
        of_test("test_set", &test_rows),
        of_rows("train_copy", train, each(&|seed| drawn(&data.train, 3, seed))),
    ];
    for defect in Defect::ALL {
        let whole = of_test(defect.name(), &test_rows);
        let images = whole.images.iter().zip(&references.seeds);
        let images = images.map(|(images, &seed)| defect.apply(images, seed)).collect();
        rows.push(Row { images, origin: Origin::Made, ..whole });
    }
    if let Some(classes) = test.classes.as_ref().filter(|_| data.spec.num_classes > 1) {
        // As many images as in the other rows, so that nothing but the class is missing: some come twice.
        let others = |seed| {
            let rows = drawn(test, 4, seed);
            let kept = rows.masked_select(&classes.index_select(0, &rows).not_equal(0));
            let missing = rows.size()[0] - kept.size()[0];
            Tensor::cat(&[kept.shallow_clone(), kept.narrow(0, 0, missing.min(kept.size()[0]))], 0)
        };
        rows.push(of_test("missing_class", &others));
    }
    if data.spec.text.is_some() {
        let asked = Prompts::representative(data, n as u64)?;
        let nearest = nearest_captions(&asked, &data.train, &data.spec).expect("captioned data");
        // Nothing in them is left to chance: the same for every evaluation seed.
        let row = of_rows(NEAREST_CAPTION, train, each(&|_| nearest.shallow_clone()));
        let prompts = references.seeds.iter().map(|_| asked.narrow(0, n)).collect();
        rows.push(Row { prompts: Some(prompts), ..row });
        if references.judge.is_some() {
            let row = of_rows(RANDOM_CAPTION, train, each(&|seed| drawn(&data.train, 5, seed)));
            let prompts = row.images.iter().map(|images| asked.narrow(0, images.size()[0].min(n)));
            let prompts = prompts.collect();
            rows.push(Row { prompts: Some(prompts), ..row });
        }
    }
    let unlabelled = |name: &str, origin, make: &dyn Fn(u64) -> Tensor| Row {
        name: name.to_owned(),
        images: each(make),
        origin,
        prompts: None,
    };
    let mean = mean_image(&data.train.images, n);
    rows.push(unlabelled("mean_image", Origin::OneImage, &|_| mean.shallow_clone()));
    let noise = |seed| noise_images(n, data.spec.shape, seed);
    rows.push(unlabelled("noise", Origin::Made, &noise));
    Ok(rows)
}

/// That there are as many images as samples, or the reason for no score: of fewer images most scores are worse.
fn enough(which: &str, there: i64, samples: i64) -> Result<(), String> {
    if there == samples {
        return Ok(());
    }
    Err(format!("there are only {there} {which} images, not {samples}"))
}

fn score(scene: &Scene, row: Row) -> Result<Option<CalibrationScores>> {
    let &Scene { references, known, .. } = scene;
    let (features, inception_score) = match enough("such", row.len(), references.samples) {
        Ok(()) => {
            let of_headline = row.features(&references.headline)?;
            let scored = references.score(&of_headline, &|space| row.features(space))?;
            (Ok(scored), inception_scores(&*references.headline.extractor, &of_headline)?)
        }
        Err(reason) => (Err(reason.clone()), Err(reason)),
    };
    let truth = match known {
        None => None,
        Some(known) => match row.truth(known)? {
            Some(scores) => Some(scores),
            None => return Ok(None),
        },
    };
    Ok(Some(CalibrationScores {
        captions: captions(scene, &row)?,
        features,
        truth,
        likelihood: None,
        from: (row.name == "test_set").then(|| "test".to_owned()),
        inception_score,
        conditional_accuracy: conditional_accuracy(references, &row)?,
        name: row.name,
    }))
}

/// How much of what captions say is in a row whose images can also be made for held-out captions.
fn captions(scene: &Scene, row: &Row) -> Result<Option<CaptionScores>> {
    let Scene { references, data, .. } = scene;
    let Some((captions, prompts)) = scene.captions.zip(row.prompts.as_ref()) else {
        return Ok(None);
    };
    let mut make = |prompts: &Prompts, described: &Tensor| -> Result<Option<Tensor>> {
        Ok(match row.name.as_str() {
            "test_set" => Some(described.shallow_clone()),
            NEAREST_CAPTION => nearest(prompts, data),
            RANDOM_CAPTION => {
                let train = &data.train;
                let rows = draw_rows(train.len(), prompts.len().min(train.len()), mix(&[6]));
                // Of fewer images than captions some come twice.
                let turn = Tensor::arange(prompts.len(), (Kind::Int64, Device::Cpu));
                let rows = rows.index_select(0, &turn.remainder(rows.size()[0]));
                Some(train.images.index_select(0, &rows))
            }
            _ => None,
        })
    };
    captions.score(references, &prompts[0], &row.images[0], &mut make)
}

/// The training images with the captions nearest to these; `None` without captions.
fn nearest(prompts: &Prompts, data: &RunData) -> Option<Tensor> {
    let rows = nearest_captions(prompts, &data.train, &data.spec)?;
    Some(data.train.images.index_select(0, &rows))
}

fn conditional_accuracy(references: &References, row: &Row) -> Result<Result<Vec<f64>, String>> {
    let Some(prompts) = &row.prompts else { return Ok(Err("shows no class".to_owned())) };
    let Some(judge) = &references.judge else {
        return Ok(Err(super::NO_JUDGE.to_owned()));
    };
    let sets = row.images.iter().zip(prompts);
    let accuracy = sets.map(|(images, prompts)| prompts.accuracy(judge, images));
    Ok(match accuracy.collect::<Option<Result<_, _>>>() {
        Some(accuracy) => Ok(accuracy?),
        None => Err(NOTHING_ASKED.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use paragone_metrics::{FeatureExtractor, OnImages};
    use tch::{Device, Kind};

    /// One feature: the mean level. Takes no more than one image.
    #[derive(Debug)]
    struct MeanOfOne;

    impl FeatureExtractor for MeanOfOne {
        fn name(&self) -> &str {
            "mean"
        }

        fn hash(&self) -> &str {
            ""
        }

        fn dim(&self) -> i64 {
            1
        }

        fn features_with_progress(
            &self,
            images: &Tensor,
            _: OnImages<'_>,
        ) -> paragone_metrics::Result<Tensor> {
            assert_eq!(images.size()[0], 1, "more than one image");
            Ok(images.to_kind(Kind::Float).mean(Kind::Float).reshape([1, 1]))
        }
    }

    #[test]
    fn what_is_known_of_a_row_goes_through_no_network() {
        let test = Tensor::from_slice(&[5f32, 6.0, 7.0]).reshape([3, 1]);
        let space = Space { extractor: Box::new(MeanOfOne), splits: Vec::new(), test };
        let row = |images: &Tensor, origin| Row {
            name: "row".to_owned(),
            images: vec![images.shallow_clone(), images.shallow_clone()],
            origin,
            prompts: None,
        };
        let features = |row: Row| -> Vec<Vec<f32>> {
            let sets = row.features(&space).unwrap();
            sets.iter().map(|set| Vec::try_from(set.flatten(0, -1)).unwrap()).collect()
        };
        let images = Tensor::full([2, 1, 2, 2], 9, (Kind::Uint8, Device::Cpu));
        let rows = [[2i64, 0], [1, 1]].map(|rows| Tensor::from_slice(&rows)).into();
        let real = features(row(&images, Origin::Split("test", rows)));
        assert_eq!(real, [[7.0, 5.0], [6.0, 6.0]]);
        assert_eq!(features(row(&images, Origin::OneImage)), [[9.0; 2]; 2]);
        // Features that are not held are computed.
        let one = images.narrow(0, 0, 1);
        let rows = [0i64, 0].map(|row| Tensor::from_slice(&[row])).into();
        assert_eq!(features(row(&one, Origin::Split("train", rows))), [[9.0]; 2]);
    }
}
