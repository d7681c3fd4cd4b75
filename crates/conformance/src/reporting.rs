//! What a model says of itself.

use crate::{Check, Coded, Subject, check::checks, subject::build};
use anyhow::{Result, ensure};
use paragone_core::Lacks;
use std::collections::BTreeSet;

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![facts_are_finite_and_explained, what_is_lacking_has_a_reason];

fn facts_are_finite_and_explained(subject: &Subject) -> Result<()> {
    for shape in [Coded::GRAY, Coded::COLOUR] {
        let (_vars, model) = build(&*subject.tiny(), &Coded::new(shape).data)?;
        let facts = model.facts();
        let names: BTreeSet<&str> = facts.iter().map(|fact| fact.name).collect();
        ensure!(names.len() == facts.len(), "two facts of one name: {names:?}");
        for fact in &facts {
            ensure!(fact.value.is_finite(), "{} is {}", fact.name, fact.value);
            ensure!(fact.meaning.split_whitespace().count() > 1, "{} is not explained", fact.name);
        }
    }
    Ok(())
}

/// The report prints the reason beside its "—": a clause that goes on from the model's name.
fn what_is_lacking_has_a_reason(subject: &Subject) -> Result<()> {
    let (_vars, model) = build(&*subject.tiny(), &Coded::new(Coded::GRAY).data)?;
    let lacks: [(&str, Option<Lacks>); 5] = [
        ("likelihood", model.likelihood().err()),
        ("latents", model.latents().err()),
        ("noising", model.noising().err()),
        ("in-painting", model.inpaint().err()),
        ("editing", model.edit().err()),
    ];
    for (what, lacks) in lacks {
        if let Some(Lacks(reason)) = lacks {
            ensure!(reason.split_whitespace().count() > 1, "no {what}, and no reason: {reason:?}");
            ensure!(!reason.ends_with('.'), "the reason for no {what} ends with a full stop");
        }
    }
    Ok(())
}
