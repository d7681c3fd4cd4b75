//! The audit of scores: do they rank image sets as the truth does?
//!
//! The distribution of `shapes` is known. So there are sets of images that are worse than others by construction, and
//! true scores of every set, a model's too: counts of what is possible, new, missing or too frequent. All go through every
//! standard score in every feature space, and where a score ranks the sets of a family in their known order for every
//! seed, it is right from that number of images on.

mod judge;
mod page;
mod rank;
mod scores;
mod sets;

pub use judge::{Audit, FamilyVerdict, ModelRow};
pub use page::page;
pub use scores::{SetScores, Settings};
pub use sets::{AuditedModel, Set, World, models_of};

use crate::{
    files::{create_dir, read_json_if_there, write_json},
    interrupt,
    log::Reporter,
};
use anyhow::Result;
use scores::Scorer;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::Device;

/// What to audit.
#[derive(Debug)]
pub struct Plan {
    /// Numbers of images, ascending.
    pub sizes: Vec<u64>,
    /// Seeds of the corrupted sets: 0 up to this number.
    pub seeds: u64,
    /// Trained models.
    pub models: Vec<AuditedModel>,
}

/// Scores of sets as they are made, so that a stopped audit goes on: saved as `sets.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ledger {
    settings: Option<Settings>,
    sets: Vec<SetScores>,
}

/// Scores every set of the plan that has no scores in `out` under the same settings, and judges the scores by them.
///
/// `None` when the user asked to stop.
///
/// # Errors
/// What cannot be read or written, and sets that no score is defined for.
pub fn audit(plan: &Plan, world: &World, out: &Path, device: Device) -> Result<Option<Audit>> {
    create_dir(out)?;
    let path = out.join("sets.json");
    let mut scorer = Scorer::new(world, device)?;
    // Scores of an older version of this program do not parse: they are made anew.
    let mut ledger: Ledger = read_json_if_there(&path).ok().flatten().unwrap_or_default();
    if ledger.settings.as_ref() != Some(scorer.settings()) {
        ledger = Ledger { settings: Some(scorer.settings().clone()), sets: Vec::new() };
    }
    let sets = sets::sets(plan.seeds, &plan.models);
    let mut reporter = Reporter::new("audit", "sets", 0, sets.len() as u64);
    for (done, set) in sets.iter().enumerate() {
        let scored =
            |n: u64| ledger.sets.iter().any(|scores| scores.set == *set && scores.images == n);
        let there = set.images_there(&plan.models)?;
        let wanted: Vec<u64> =
            plan.sizes.iter().copied().filter(|&n| n <= there && !scored(n)).collect();
        if let Some(&most) = wanted.last() {
            reporter.message(set.to_string());
            let images = set.images(world, &plan.models, most)?;
            let Some(scores) = scorer.score(set, &images, &wanted)? else { return Ok(None) };
            ledger.sets.extend(scores);
            write_json(&path, &ledger)?;
        }
        reporter.set(done as u64 + 1);
        if interrupt::asked() {
            return Ok(None);
        }
    }
    reporter.finish();
    let wanted =
        |scores: &&SetScores| sets.contains(&scores.set) && plan.sizes.contains(&scores.images);
    let scores: Vec<SetScores> = ledger.sets.iter().filter(wanted).cloned().collect();
    let audit = Audit::of(plan, scorer.settings(), world, &scores)?;
    write_json(&out.join("audit.json"), &audit)?;
    Ok(Some(audit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use paragone_data::{DataConfig, Scenes};

    #[test]
    fn an_audit_ranks_what_is_plain_and_goes_on_where_it_stopped() {
        let config = DataConfig {
            scenes: Scenes::Simple,
            train_images: Some(600),
            test_images: Some(10),
            ..DataConfig::default()
        };
        let world = World::open(&config).unwrap();
        let out = std::env::temp_dir().join(format!("paragone-audit-{}", std::process::id()));
        let plan = |sizes: &[u64]| Plan { sizes: sizes.into(), seeds: 1, models: Vec::new() };
        let first = audit(&plan(&[20, 60]), &world, &out, Device::Cpu).unwrap().unwrap();
        let verdict = |audit: &Audit, score: &str, family: &str| {
            let own = audit.verdicts.iter().find(|verdict| {
                (verdict.score.as_str(), verdict.family.as_str()) == (score, family)
            });
            own.unwrap().right_from
        };
        assert_eq!(verdict(&first, "distance to the nearest scene", "pixel_noise"), Some(20));
        assert!(verdict(&first, "novelty", "memorised").is_some());
        assert_eq!(verdict(&first, "novelty", "pixel_noise"), None);
        // 40 sets of two sizes, and each of them once only.
        let ledger = || read_json_if_there::<Ledger>(&out.join("sets.json")).unwrap().unwrap();
        let before = ledger().sets;
        assert_eq!(before.len(), 80);
        let second = audit(&plan(&[20, 40, 60]), &world, &out, Device::Cpu).unwrap().unwrap();
        let after = ledger().sets;
        assert_eq!((&after[..80], after.len()), (&before[..], 120));
        assert_eq!(second.means, first.means);
        assert!(page(&second).contains("| memorised"));
        std::fs::remove_dir_all(out).unwrap();
    }
}
