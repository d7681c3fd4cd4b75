//! Every check fails when it should: each is run on a small family with a flaw that it must catch, and all are run on the
//! same family without any.

mod oddity;
mod toy;

use paragone::families::Entry;
use paragone_conformance::{Check, TRAINED, UNTRAINED, Waiver, failures};
use std::collections::BTreeSet;
use toy::{Flaw, Toy, with_flaw};

static TOY: Entry = Entry::of::<Toy>();
static ODDITY: Entry = Entry::of::<oddity::Oddity>();

fn all() -> Vec<Check> {
    [UNTRAINED.concat(), TRAINED.concat()].concat()
}

#[test]
fn a_family_without_flaws_passes() {
    let failures = with_flaw(Flaw::None, || failures(&TOY, &all(), &[]));
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The flaws of a model, and the check that each must be caught by.
const FLAWS: &[(Flaw, &str)] = &[
    (Flaw::RefusesColour, "defaults_and_tiny_validate"),
    (Flaw::OptionBreaksLoss, "every_option_that_validates_works"),
    (Flaw::SamplingKeySizesWeights, "sampling_keys_need_no_other_weights"),
    (Flaw::SamplingKeyScalesLoss, "sampling_keys_train_the_same_weights"),
    (Flaw::CostsFall, "sampling_costs_rise"),
    (Flaw::SamplingKeyScalesNats, "likelihood_depends_on_what_it_says"),
    (Flaw::NeedsGray, "gray_and_colour_work"),
    (Flaw::NeedsClasses, "classless_images_work"),
    (Flaw::NeedsNoText, "captioned_images_work"),
    (Flaw::NeedsNoKnownPixels, "known_pixels_work"),
    (Flaw::NeedsSquares, "other_sizes_work_or_are_refused"),
    (Flaw::ParameterOfNoPhase, "phases_share_the_parameters_out"),
    (Flaw::UnusedParameter, "gradients_reach_the_phase_s_parameters_and_no_others"),
    (Flaw::CallsBackward, "a_loss_leaves_no_gradients_behind"),
    (Flaw::UnusedParameter, "every_parameter_is_trained"),
    (Flaw::NoSignal, "an_average_keeps_its_distance"),
    (Flaw::LossInDoubles, "a_loss_is_a_number_with_a_graph"),
    (Flaw::OwnChance, "its_chance_comes_from_libtorch_s_generator"),
    (Flaw::BatchStatistics, "it_is_a_sum_over_images"),
    (Flaw::SumOverImages, "it_is_a_mean_over_images"),
    (Flaw::BatchStatistics, "accumulation_changes_nothing"),
    (Flaw::NoAutocast, "bf16_changes_little"),
    (Flaw::OwnChance, "the_same_seed_trains_the_same_weights"),
    (Flaw::StateOfItsOwn, "a_resumed_run_equals_an_uninterrupted_one"),
    (Flaw::TensorOfItsOwn, "a_checkpoint_is_the_whole_model"),
    (Flaw::FactIsNan, "facts_are_finite_and_explained"),
    (Flaw::LacksWithoutReason, "what_is_lacking_has_a_reason"),
    (Flaw::NoiseForgetsTime, "it_begins_clean_and_ends_in_noise"),
    (Flaw::NoSignal, "it_overfits_one_batch"),
    (Flaw::SamplesAreNoise, "samples_come_near_the_images"),
    (Flaw::ForgetsClass, "it_draws_the_class_that_is_asked_for"),
    (Flaw::ForgetsCaption, "it_draws_what_the_caption_says"),
    (Flaw::NoneIsClassOne, "dropped_conditions_ask_for_nothing"),
    (Flaw::Unclamped, "samples_are_images"),
    (Flaw::OwnChance, "the_same_seed_draws_the_same_image"),
    (Flaw::BatchStatistics, "an_image_is_the_same_in_any_batch"),
    (Flaw::IgnoresSeeds, "another_seed_draws_another_image"),
    (Flaw::DrawsFromLibtorch, "chance_comes_from_the_seeds_alone"),
    (Flaw::SamplingTrains, "sampling_changes_no_variable"),
    (Flaw::CountsFromZero, "every_network_call_is_reported"),
    (Flaw::WatchingDisturbs, "watching_changes_nothing"),
    (Flaw::GoesOn, "it_stops_when_told"),
    (Flaw::IgnoresGuidance, "guidance_moves_towards_the_condition_or_is_refused"),
    (Flaw::IgnoresUnwanted, "guidance_moves_away_from_what_is_unwanted_or_is_refused"),
    (Flaw::TemperatureWidens, "a_low_temperature_narrows_or_is_refused"),
    (Flaw::TakesAnyKnob, "knobs_beyond_their_range_are_refused"),
    (Flaw::NatsInFloats, "every_method_works"),
    (Flaw::BatchStatistics, "an_image_costs_the_same_in_any_batch"),
    (Flaw::EveryImageIsAsLikely, "real_images_are_likelier_than_noise"),
    (Flaw::ForgetsClass, "the_right_class_is_likelier_than_a_wrong_one"),
    (Flaw::ForgetsTails, "an_exact_likelihood_sums_to_one"),
    (Flaw::ForgetsHalfThePixels, "probabilities_sum_to_one_at_most"),
    (Flaw::ForgetsHalfThePixels, "no_figure_beats_the_entropy_of_the_data"),
    (Flaw::LatentsInDoubles, "encoding_gives_latents"),
    (Flaw::BatchStatistics, "an_image_has_the_same_latents_in_any_batch"),
    (Flaw::Unclamped, "decoding_gives_images"),
    (Flaw::EncodesNothing, "decoding_brings_an_image_back"),
    (Flaw::LatentsTooWide, "decoded_noise_looks_like_samples"),
    (Flaw::TouchesKnownPixels, "in_painting_keeps_known_pixels"),
    (Flaw::ForgetsKnownPixels, "shown_pixels_decide_the_rest"),
    (Flaw::EditsAtNoStrength, "an_edit_of_no_strength_is_the_source"),
    (Flaw::EditsBeyondTheMask, "a_masked_edit_keeps_the_rest"),
    (Flaw::DeniesReading, "an_edit_reads_what_it_says_it_reads"),
];

/// The flaws of a section, all of them [`oddity::Oddity`]'s.
const ODD: &[&str] = &[
    "names_are_kebab_case",
    "sections_survive_yaml",
    "an_empty_section_is_the_default",
    "unknown_keys_are_refused_by_name",
    "the_schema_describes_every_key",
    "sampling_keys_are_keys",
];

#[test]
fn every_flaw_is_caught() {
    let mut missed = Vec::new();
    for (flaw, name) in FLAWS {
        let caught = with_flaw(*flaw, || failures(&TOY, &[check(name)], &[]));
        if caught.is_empty() {
            missed.push(format!("{flaw:?} passes {name}"));
        }
    }
    for name in ODD {
        if failures(&ODDITY, &[check(name)], &[]).is_empty() {
            missed.push(format!("the oddity passes {name}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn every_check_has_a_flaw() {
    let proven: BTreeSet<&str> =
        FLAWS.iter().map(|(_, name)| *name).chain(ODD.iter().copied()).collect();
    let names: Vec<&str> = all().iter().map(|check| check.name).collect();
    let unproven: Vec<&&str> = names.iter().filter(|name| !proven.contains(**name)).collect();
    assert!(unproven.is_empty(), "nothing shows that these can fail: {unproven:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "two checks of one name");
}

/// A waiver silences its check, and is itself a failure once the check holds.
#[test]
fn a_waiver_has_to_be_needed() {
    let check = check("every_network_call_is_reported");
    let waiver = Waiver { family: TOY.name, check: check.name, reason: "it counts from zero" };
    assert!(with_flaw(Flaw::CountsFromZero, || failures(&TOY, &[check], &[waiver])).is_empty());
    let stale = with_flaw(Flaw::None, || failures(&TOY, &[check], &[waiver]));
    assert!(stale.len() == 1 && stale[0].to_string().contains(waiver.reason), "{stale:?}");
}

fn check(name: &str) -> Check {
    let found = all().into_iter().find(|check| check.name == name);
    found.unwrap_or_else(|| panic!("there is no check {name}"))
}
