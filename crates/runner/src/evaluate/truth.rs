//! Scores against a known distribution: what images show is counted, not compared in anyone's features.

use super::likelihood::LikelihoodScore;
use crate::{interrupt, log::Reporter};
use anyhow::Result;
use paragone_core::LikelihoodKind;
use paragone_data::{
    DataConfig, Dataset, ImageSet, Split,
    shapes::{
        Match, PixelNoise, Recogniser, Shapes, TOLERANCE, TrueScores, Truth, true_bits_per_dim,
    },
};
use tch::Tensor;

/// Images whose scenes are looked for between two looks at whether to stop.
const STEP: usize = 200;

/// The distribution behind a dataset, where it is known.
#[derive(Debug)]
pub struct Known {
    truth: Truth,
    noise: Option<PixelNoise>,
    tolerance: f64,
    /// The same for pixels that are not made: the deviation of their noise and of rounding, and a quarter more for chance.
    real_tolerance: f64,
}

impl Known {
    /// The distribution of `shapes`; `None` for other data.
    ///
    /// # Errors
    /// A configuration that `shapes` refuses.
    pub fn of(config: &DataConfig) -> Result<Option<Self>> {
        if config.dataset != "shapes" {
            return Ok(None);
        }
        let data = Shapes::new(config)?;
        let side = data.shape().height as u32;
        Ok(Some(Self {
            truth: Truth::new(side, config.scenes, &data.scenes(Split::Train)?),
            noise: data.noise().cloned(),
            // Noise of the data is no error: independent deviations add as squares.
            tolerance: TOLERANCE.hypot(config.pixel_noise),
            real_tolerance: match config.pixel_noise {
                0.0 => 0.0,
                noise => 1.25 * noise.hypot(0.3),
            },
        }))
    }

    /// True scores of sets of images, u8 `[n, 3, side, side]`; `None` when the user asked to stop.
    ///
    /// # Errors
    /// Images that cannot be read back.
    pub fn scores(&self, sets: &[Tensor]) -> Result<Option<Vec<TrueScores>>> {
        let mut scores = Vec::new();
        for images in sets {
            let Some(nearest) = nearest(self.truth.recogniser(), images)? else { return Ok(None) };
            scores.push(self.truth.scores(&nearest, self.tolerance));
        }
        Ok(Some(scores))
    }

    /// Share of completed images, u8 `[n, 3, side, side]`, that show what their known pixels leave possible. `hole`: bool
    /// `[n, 1, side, side]`, where they were made.
    ///
    /// # Errors
    /// Images that cannot be read back.
    pub fn possible_completions(&self, images: &Tensor, hole: &Tensor) -> Result<f64> {
        let known = Vec::<bool>::try_from(hole.logical_not().contiguous().view(-1))?;
        let tolerances = [self.real_tolerance, self.tolerance];
        let possible = self.truth.possible_completions(&levels(images)?, &known, tolerances);
        let number = possible.iter().filter(|possible| **possible).count();
        Ok(number as f64 / possible.len() as f64)
    }

    /// True scores of `n` copies of one image, u8 `[1, 3, side, side]`; `None` when the user asked to stop.
    ///
    /// # Errors
    /// An image that cannot be read back.
    pub fn scores_of_copies(&self, image: &Tensor, n: usize) -> Result<Option<TrueScores>> {
        let nearest = nearest(self.truth.recogniser(), image)?;
        Ok(nearest.map(|nearest| self.truth.scores(&nearest.repeat(n), self.tolerance)))
    }

    /// Bits per dimension of the first `images` of a set under the distribution itself: what no model can beat on average.
    /// `None` if one of them is impossible.
    ///
    /// # Errors
    /// Images that cannot be read back.
    pub fn bits_per_dim(
        &self,
        set: &ImageSet,
        images: i64,
        conditional: bool,
    ) -> Result<Option<LikelihoodScore>> {
        let images = images.min(set.len());
        let levels = levels(&set.images.narrow(0, 0, images))?;
        let classes = set.classes.as_ref().filter(|_| conditional);
        let classes: Option<Vec<i64>> =
            classes.map(|all| Vec::try_from(all.narrow(0, 0, images))).transpose()?;
        let classes: Option<Vec<usize>> =
            classes.map(|all| all.into_iter().map(|class| class as usize).collect());
        let (recogniser, noise) = (self.truth.recogniser(), self.noise.as_ref());
        let bits = true_bits_per_dim(recogniser, noise, &levels, classes.as_deref());
        Ok(bits.map(|bits| LikelihoodScore {
            value: bits.value,
            standard_error: bits.standard_error,
            kind: LikelihoodKind::Exact,
            method: "the distribution that the images were drawn from".to_owned(),
            conditional: classes.is_some(),
            images,
            draws: 0,
            passes: 0,
        }))
    }
}

/// The scene nearest to each image of u8 `[n, 3, side, side]`; `None` when the user asked to stop.
///
/// # Errors
/// Images that cannot be read back.
pub fn nearest(recogniser: &Recogniser, images: &Tensor) -> Result<Option<Vec<Match>>> {
    let levels = levels(images)?;
    let total = images.size()[0] as u64;
    let mut reporter = Reporter::new("scenes recognised", "images", 0, total);
    let mut found = Vec::new();
    for some in levels.chunks(STEP * recogniser.levels()) {
        found.extend(recogniser.nearest_of(some));
        reporter.set(found.len() as u64);
        if interrupt::asked() {
            return Ok(None);
        }
    }
    reporter.finish();
    Ok(Some(found))
}

fn levels(images: &Tensor) -> Result<Vec<u8>> {
    Ok(Vec::try_from(images.contiguous().view(-1))?)
}
