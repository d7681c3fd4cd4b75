//! Whether images show what captions say: captions like those of training, and captions that combine what training never
//! combined.

use super::{
    References,
    samples::{Request, Samples},
};
use crate::{data::RunData, prompts::Prompts};
use anyhow::Result;
use paragone_data::ImageSet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Tensor;

/// Captions of what is held out, at most.
const HELD_OUT_CAPTIONS: i64 = 1_000;

/// Shares of images that show what their captions say: by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionScores {
    /// Captions like those of training.
    pub seen: BTreeMap<String, f64>,
    /// Captions with combinations of attributes that training never had; empty where there are none.
    pub held_out: BTreeMap<String, f64>,
}

/// What captions are judged with, for data whose captions can be.
#[derive(Debug)]
pub struct Captions {
    /// Captions of what is held out, and the images that they describe.
    held_out: Option<(Prompts, ImageSet)>,
}

impl Captions {
    /// `None` for data without captions, or without a judge of them.
    pub fn of(data: &RunData, references: &References) -> Result<Option<Self>> {
        if data.spec.text.is_none() || references.judge.is_none() {
            return Ok(None);
        }
        Ok(Some(Self { held_out: Prompts::held_out(data, HELD_OUT_CAPTIONS)? }))
    }

    /// Scores images, u8 `[n, c, h, w]`, of these prompts and others of the held-out ones, which `make` makes of prompts and the
    /// images that they describe; `None` when that ends early.
    pub fn score(
        &self,
        references: &References,
        prompts: &Prompts,
        levels: &Tensor,
        make: &mut dyn FnMut(&Prompts, &Tensor) -> Result<Option<Tensor>>,
    ) -> Result<Option<CaptionScores>> {
        let judge = references.judge.as_ref().expect("there are captions that it judges");
        let shares = |prompts: &Prompts, levels: &Tensor| {
            prompts.caption_accuracy(judge, levels).unwrap_or_else(|| Ok(BTreeMap::new()))
        };
        let seen = shares(prompts, levels)?;
        let held_out = match &self.held_out {
            None => BTreeMap::new(),
            Some((prompts, described)) => {
                let described = described.images.narrow(0, 0, prompts.len());
                let Some(levels) = make(prompts, &described)? else { return Ok(None) };
                shares(prompts, &levels)?
            }
        };
        Ok(Some(CaptionScores { seen, held_out }))
    }

    /// Scores a model's samples, drawing those of held-out captions as `request` drew the others; `None` when the user asked to
    /// stop.
    pub fn score_model(
        &self,
        references: &References,
        request: &Request<'_>,
        levels: &Tensor,
        model: &crate::trained::Trained,
    ) -> Result<Option<CaptionScores>> {
        self.score(references, request.prompts, levels, &mut |prompts, _| {
            let held_out = Request { prompts, title: "held-out captions", ..*request };
            Ok(held_out.draw(model)?.map(|Samples { levels, .. }| levels))
        })
    }
}
