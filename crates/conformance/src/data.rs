//! Which data a family learns.

use crate::{Check, Coded, Subject, check::checks, config::key_paths, trial::live};
use anyhow::{Context, Result, ensure};
use paragone_core::Error;

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    gray_and_colour_work,
    classless_images_work,
    captioned_images_work,
    known_pixels_work,
    other_sizes_work_or_are_refused,
];

fn gray_and_colour_work(subject: &Subject) -> Result<()> {
    for shape in [Coded::GRAY, Coded::COLOUR] {
        live(&*subject.tiny(), &Coded::new(shape)).with_context(|| format!("{shape:?}"))?;
    }
    Ok(())
}

fn classless_images_work(subject: &Subject) -> Result<()> {
    live(&*subject.tiny(), &Coded::new(Coded::GRAY).without_classes())
}

fn captioned_images_work(subject: &Subject) -> Result<()> {
    live(&*subject.tiny(), &Coded::new(Coded::GRAY).with_text_alone())
}

/// A model may be shown pixels to complete; where it makes no use of them, it must not mind.
fn known_pixels_work(subject: &Subject) -> Result<()> {
    live(&*subject.tiny(), &Coded::new(Coded::GRAY).with_holes())
}

/// Whatever `validate` lets through can be trained and sampled; what it refuses, it refuses by a key of the section.
fn other_sizes_work_or_are_refused(subject: &Subject) -> Result<()> {
    let section = subject.tiny().to_value();
    let keys: Vec<String> = key_paths(&section, &[]).iter().map(|path| path.join(".")).collect();
    let shapes = [Coded::OBLONG, [3, 12, 8], [1, 1, 1], [1, 1, 2], [1, 2, 2], [1, 7, 5], [3, 9, 6]];
    for shape in shapes {
        let coded = Coded::new(shape);
        match subject.tiny().validate(&coded.data) {
            Ok(()) => live(&*subject.tiny(), &coded).with_context(|| format!("{shape:?}"))?,
            Err(Error::InvalidConfig { key, value, rule }) => {
                // Of a list, any entry.
                let stem = key.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
                ensure!(keys.iter().any(|k| k == stem), "{shape:?} is refused for {key}, no key");
                ensure!(!value.is_empty() && !rule.is_empty(), "{shape:?}: {key} without a reason");
            }
            Err(other) => return Err(other).with_context(|| format!("validating {shape:?}")),
        }
    }
    Ok(())
}
