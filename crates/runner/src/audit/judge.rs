//! What the scores of all sets say about the scores.

use super::{
    Plan, SetScores, Settings, World,
    rank::{adjacent, agreement, kendall},
    scores::{Audited, STANDARD, TRUE},
    sets::{AuditedModel, Set},
};
use anyhow::Result;
use paragone_core::LikelihoodKind;
use paragone_data::{
    Dataset, Scenes, Split,
    shapes::{Corruption, TrueBits, TrueScores, true_bits_per_dim},
};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// An audit: saved as `audit.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// What the scores depend on.
    pub settings: Settings,
    /// Side of the images.
    pub side: u32,
    /// The scenes of the true distribution.
    pub scenes: Scenes,
    /// Numbers of images.
    pub sizes: Vec<u64>,
    /// Number of seeds.
    pub seeds: u64,
    /// Every score with every family of corruptions.
    pub verdicts: Vec<FamilyVerdict>,
    /// The mean over seeds of every score of every corrupted set, at the largest number of images.
    pub means: Vec<MeanRow>,
    /// The models.
    pub models: Vec<ModelRow>,
    /// Every standard score with every true one, over the models.
    pub agreements: Vec<Agreement>,
}

/// How one score ranks one family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilyVerdict {
    /// The score.
    pub score: String,
    /// Its feature space; none for a true score.
    pub space: Option<String>,
    /// The family.
    pub family: String,
    /// For each number of images.
    pub ranks: Vec<Ranks>,
    /// The number of images from which on, up to the largest, every seed's order is right.
    pub right_from: Option<u64>,
}

/// How well an order is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranks {
    /// Number of images.
    pub images: u64,
    /// Mean over seeds of Kendall's τ between the score and the known order; none where the score is not defined.
    pub kendall: Option<f64>,
    /// Share of neighbouring grades that are in the right order, over all seeds.
    pub adjacent: Option<f64>,
    /// Whether every seed's order is right.
    pub right: bool,
}

/// Mean scores of a corrupted set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeanRow {
    /// The family.
    pub family: String,
    /// Its strength.
    pub strength: f64,
    /// Score, feature space, value.
    pub scores: Vec<Value>,
}

/// A score's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// The score.
    pub score: String,
    /// Its feature space; none for a true score.
    pub space: Option<String>,
    /// Its value, if it is defined.
    pub value: Option<f64>,
}

/// All scores of a model's samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRow {
    /// Run and model.
    pub name: String,
    /// The evaluation seed.
    pub seed: u64,
    /// Number of images.
    pub images: u64,
    /// Standard and true scores by name.
    pub scores: Vec<Value>,
    /// All that is true of the samples.
    pub truth: TrueScores,
    /// Its headline likelihood beside the true one; none for a model without.
    pub bits: Option<Bits>,
}

/// A likelihood beside the best there is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bits {
    /// Bits per dimension of the model.
    pub model: f64,
    /// What that figure is.
    pub kind: LikelihoodKind,
    /// Bits per dimension of the true distribution for the same images.
    pub truth: TrueBits,
}

/// Whether two scores rank the models alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The standard score.
    pub score: String,
    /// Its feature space.
    pub space: String,
    /// The true score.
    pub truth: String,
    /// Kendall's τ-b over the models, better with better; none where one of them is the same for all.
    pub kendall: Option<f64>,
}

/// A score of a set by name, worse upwards.
type Reader<'a> = Box<dyn Fn(&SetScores) -> Option<f64> + 'a>;

/// A score in one feature space, or a true one.
struct Column<'a> {
    score: &'static str,
    space: Option<String>,
    lower_is_better: bool,
    of: Reader<'a>,
}

impl Column<'_> {
    fn worse(&self, scores: &SetScores) -> Option<f64> {
        let value = (self.of)(scores)?;
        Some(if self.lower_is_better { value } else { -value })
    }

    fn value(&self, scores: &SetScores) -> Value {
        Value { score: self.score.to_owned(), space: self.space.clone(), value: (self.of)(scores) }
    }
}

fn columns(settings: &Settings) -> Vec<Column<'static>> {
    let standard = settings.features.keys().flat_map(|space| {
        STANDARD.iter().map(move |score: &'static Audited<_>| {
            let name = space.clone();
            Column {
                score: score.name,
                space: Some(space.clone()),
                lower_is_better: score.lower_is_better,
                of: Box::new(move |scores: &SetScores| (score.of)(scores.standard.get(&name)?)),
            }
        })
    });
    let truth = TRUE.iter().map(|score: &'static Audited<_>| Column {
        score: score.name,
        space: None,
        lower_is_better: score.lower_is_better,
        of: Box::new(move |scores: &SetScores| (score.of)(&scores.truth)),
    });
    standard.chain(truth).collect()
}

impl Audit {
    /// Judges the scores by those of all sets.
    pub(super) fn of(
        plan: &Plan,
        settings: &Settings,
        world: &World,
        scores: &[SetScores],
    ) -> Result<Self> {
        let columns = columns(settings);
        let families = || Corruption::ALL.into_iter();
        let verdicts = columns
            .iter()
            .flat_map(|column| families().map(move |family| verdict(column, family, plan, scores)))
            .collect();
        let largest = *plan.sizes.last().expect("at least one number of images");
        let models = model_rows(plan, world, &columns, scores)?;
        Ok(Self {
            settings: settings.clone(),
            side: world.side,
            scenes: world.scenes,
            sizes: plan.sizes.clone(),
            seeds: plan.seeds,
            verdicts,
            means: families().flat_map(|family| means(&columns, family, largest, scores)).collect(),
            agreements: agreements(&columns, &models),
            models,
        })
    }
}

/// The sets of a family for a number of images: grade, strength, seed, scores.
fn of_family(
    family: Corruption,
    images: u64,
    scores: &[SetScores],
) -> impl Iterator<Item = (usize, f64, u64, &SetScores)> {
    scores.iter().filter(move |scores| scores.images == images).filter_map(move |scores| {
        match &scores.set {
            Set::Corrupted { family: name, grade, strength, seed } if name == family.name() => {
                Some((*grade, *strength, *seed, scores))
            }
            _ => None,
        }
    })
}

fn verdict(
    column: &Column<'_>,
    family: Corruption,
    plan: &Plan,
    scores: &[SetScores],
) -> FamilyVerdict {
    let ranks: Vec<Ranks> = plan
        .sizes
        .iter()
        .map(|&images| {
            let seeds = (0..plan.seeds).map(|seed| {
                let mut sets: Vec<_> =
                    of_family(family, images, scores).filter(|set| set.2 == seed).collect();
                sets.sort_by_key(|set| set.0);
                sets.into_iter().map(|set| column.worse(set.3)).collect::<Option<Vec<f64>>>()
            });
            let orders: Option<Vec<Vec<f64>>> = seeds.collect();
            let mean = |f: fn(&[f64]) -> Option<f64>| {
                let of: Option<Vec<f64>> = orders.as_ref()?.iter().map(|order| f(order)).collect();
                of.map(|of| of.iter().sum::<f64>() / of.len() as f64)
            };
            let (kendall, adjacent) = (mean(kendall), mean(adjacent));
            Ranks { images, kendall, adjacent, right: adjacent == Some(1.0) }
        })
        .collect();
    let wrong = ranks.iter().rposition(|ranks| !ranks.right);
    let right = wrong.map_or(0, |last| last + 1);
    FamilyVerdict {
        score: column.score.to_owned(),
        space: column.space.clone(),
        family: family.name().to_owned(),
        right_from: ranks.get(right).map(|ranks| ranks.images),
        ranks,
    }
}

fn means(
    columns: &[Column<'_>],
    family: Corruption,
    images: u64,
    scores: &[SetScores],
) -> Vec<MeanRow> {
    let strengths = [0.0].into_iter().chain(family.strengths()).enumerate();
    let row = |(grade, strength): (usize, f64)| {
        let sets: Vec<&SetScores> = of_family(family, images, scores)
            .filter(|set| set.0 == grade)
            .map(|set| set.3)
            .collect();
        let mean = |column: &Column<'_>| {
            let values: Option<Vec<f64>> = sets.iter().map(|set| (column.of)(set)).collect();
            let value = values.map(|values| values.iter().sum::<f64>() / values.len() as f64);
            Value { score: column.score.to_owned(), space: column.space.clone(), value }
        };
        let scores = columns.iter().map(mean).collect();
        MeanRow { family: family.name().to_owned(), strength, scores }
    };
    strengths.map(row).collect()
}

fn model_rows(
    plan: &Plan,
    world: &World,
    columns: &[Column<'_>],
    scores: &[SetScores],
) -> Result<Vec<ModelRow>> {
    let mut rows = Vec::new();
    for model in &plan.models {
        let bits = bits(model, world)?;
        for ((set, _), samples) in model.sets().zip(&model.samples) {
            let own = |scores: &&SetScores| scores.set == set;
            // A model with fewer samples than any number asked for has no row.
            let Some(most) = scores.iter().filter(own).max_by_key(|scores| scores.images) else {
                continue;
            };
            rows.push(ModelRow {
                name: model.name.clone(),
                seed: samples.seed,
                images: most.images,
                scores: columns.iter().map(|column| column.value(most)).collect(),
                truth: most.truth.clone(),
                bits: bits.clone(),
            });
        }
    }
    Ok(rows)
}

fn bits(model: &AuditedModel, world: &World) -> Result<Option<Bits>> {
    let Ok(likelihood) = &model.likelihood else { return Ok(None) };
    let Some(headline) = likelihood.first() else { return Ok(None) };
    let test = world.data.load(Split::Test)?;
    let n = headline.images.min(test.len());
    let levels = |images: Tensor| Vec::<u8>::try_from(images.contiguous().view(-1));
    let images = levels(test.images.narrow(0, 0, n))?;
    let classes = match (&test.classes, headline.conditional) {
        (Some(classes), true) => Some(Vec::<i64>::try_from(classes.narrow(0, 0, n))?),
        _ => None,
    };
    let classes: Option<Vec<usize>> =
        classes.map(|classes| classes.into_iter().map(|class| class as usize).collect());
    let truth = true_bits_per_dim(world.truth.recogniser(), None, &images, classes.as_deref());
    Ok(truth.map(|truth| Bits { model: headline.value, kind: headline.kind, truth }))
}

fn agreements(columns: &[Column<'_>], models: &[ModelRow]) -> Vec<Agreement> {
    let goodness = |index: usize| -> Option<Vec<f64>> {
        let sign = if columns[index].lower_is_better { -1.0 } else { 1.0 };
        models.iter().map(|row| Some(sign * row.scores[index].value?)).collect()
    };
    let indices = |wanted: fn(&Column<'_>) -> bool| {
        (0..columns.len()).filter(move |&index| wanted(&columns[index]))
    };
    let pair = |standard: usize, truth: usize| Agreement {
        score: columns[standard].score.to_owned(),
        space: columns[standard].space.clone().unwrap_or_default(),
        truth: columns[truth].score.to_owned(),
        kendall: goodness(standard).zip(goodness(truth)).and_then(|(a, b)| agreement(&a, &b)),
    };
    if models.len() < 2 {
        return Vec::new();
    }
    indices(|column| column.space.is_some())
        .flat_map(|standard| {
            indices(|column| column.space.is_none()).map(move |truth| (standard, truth))
        })
        .map(|(standard, truth)| pair(standard, truth))
        .collect()
}
