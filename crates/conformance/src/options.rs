//! What each option does: all values work, and those that are said to matter to sampling only do.

use crate::{
    Check, Coded, Subject,
    check::checks,
    config::{at, at_mut, key_paths, parse},
    subject::{build, context, options, sample},
    trial::{equal_bits, live},
    watch::unwatched,
};
use anyhow::{Context, Result, ensure};
use paragone::{
    families::Model,
    train::{Trainer, named_variables},
};
use paragone_core::{LikelihoodMethod, Noise, Progress};
use serde_json::Value as Json;
use serde_yaml::Value;
use std::ops::ControlFlow;
use tch::{Device, Tensor};

/// The checks of this subject.
pub const CHECKS: &[Check] = checks![
    every_option_that_validates_works,
    sampling_keys_need_no_other_weights,
    sampling_keys_train_the_same_weights,
    sampling_costs_rise,
    likelihood_depends_on_what_it_says,
];

/// Each key of the tiny section in turn, with other values.
fn every_option_that_validates_works(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let mut tried = 0;
    for Variant { what, model } in variants(subject)? {
        if model.validate(&coded.data).is_ok() {
            live(&*model, &coded).with_context(|| what.clone())?;
            tried += 1;
        }
    }
    ensure!(tried > 0, "no other value of any key is accepted");
    Ok(())
}

/// A sampling key may be changed after training, so the variables must be the same.
fn sampling_keys_need_no_other_weights(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let names = |model: &dyn Model| -> Result<Vec<(String, Vec<i64>)>> {
        let (vars, _model) = build(model, &coded.data)?;
        Ok(named_variables(&vars).into_iter().map(|(name, t)| (name, t.size())).collect())
    };
    let want = names(&*subject.tiny())?;
    for Variant { what, model } in sampling_variants(subject, &coded)? {
        let got = names(&*model).with_context(|| what.clone())?;
        ensure!(got == want, "{what} has other variables than tiny");
    }
    Ok(())
}

/// The runner keeps the weights when a sampling key changes, so training must not depend on it.
fn sampling_keys_train_the_same_weights(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let trained = |model: &dyn Model| -> Result<Trainer> {
        let mut trainer = Trainer::new(model, &coded.data, options())?;
        for step in 0..3 {
            trainer.step(&coded.nth_batch(step, 4), &context(step, 3, 4))?;
        }
        Ok(trainer)
    };
    let want = trained(&*subject.tiny())?.model_state();
    for Variant { what, model } in sampling_variants(subject, &coded)? {
        let got = trained(&*model)?.model_state();
        equal_bits(&want, &got).with_context(|| format!("trained with {what}"))?;
    }
    Ok(())
}

/// Samplers of other costs change sampling keys only, and each takes more network calls than the one before, none as many as
/// the configuration's own.
fn sampling_costs_rise(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let tiny = subject.tiny();
    let weights = |model: &dyn Model| -> Value {
        let mut section = model.to_value();
        if let Value::Mapping(section) = &mut section {
            section.retain(|key, _| !tiny.sampling_keys().iter().any(|name| key == *name));
        }
        section
    };
    let calls = |model: &dyn Model| -> Result<u64> {
        let (_vars, built) = build(model, &coded.data)?;
        let mut calls = 0;
        let mut count = |progress: Progress| {
            calls = progress.call;
            ControlFlow::Continue(())
        };
        let _image = sample(&*built, &coded.conditions(&[1]), &[0], &mut count)?;
        Ok(calls)
    };
    let (own, mut last) = (calls(&*tiny)?, 0);
    for model in tiny.sampling_costs() {
        ensure!(weights(&*model) == weights(&*tiny), "{:?} needs other weights", model.to_value());
        if model.validate(&coded.data).is_err() {
            continue;
        }
        let calls = calls(&*model)?;
        ensure!(calls > last, "a sampler of {calls} network calls follows one of {last}");
        ensure!(calls != own, "a sampler of other costs has the {own} network calls of tiny");
        last = calls;
    }
    Ok(())
}

/// The runner measures no second likelihood where the configurations for it are equal, so the figures must be.
fn likelihood_depends_on_what_it_says(subject: &Subject) -> Result<()> {
    let coded = Coded::new(Coded::GRAY);
    let seeds = [0, 1, 2];
    let figures = |model: &dyn Model| -> Result<Vec<(LikelihoodMethod, Tensor)>> {
        let (vars, built) = build(model, &coded.data)?;
        // Networks begin with layers of zeros, behind which nothing shows.
        for (_, mut variable) in named_variables(&vars) {
            tch::no_grad(|| variable += variable.randn_like() * 0.1);
        }
        let Ok(likelihood) = built.likelihood() else { return Ok(Vec::new()) };
        let (batch, noise) = (coded.batch(&seeds), Noise::new(seeds.to_vec(), Device::Cpu));
        let nats = |method: LikelihoodMethod| -> Result<_> {
            let nats = unwatched(|on_step| {
                tch::no_grad(|| likelihood.nats(&method, &batch, &noise, on_step))
            })?;
            Ok((method, nats))
        };
        likelihood.methods().into_iter().map(nats).collect()
    };
    let tiny = subject.tiny();
    let (want, section) = (figures(&*tiny)?, tiny.for_likelihood().to_value());
    for Variant { what, model } in sampling_variants(subject, &coded)? {
        if model.for_likelihood().to_value() == section {
            ensure!(figures(&*model)? == want, "{what} changes a likelihood, which was not said");
        }
    }
    Ok(())
}

/// The tiny configuration with one value changed.
struct Variant {
    what: String,
    model: Box<dyn Model>,
}

/// Variants in a sampling key; an error for a key of which no other value is accepted.
fn sampling_variants(subject: &Subject, coded: &Coded) -> Result<Vec<Variant>> {
    let keys = subject.tiny().sampling_keys();
    let all = variants(subject)?;
    let within = |what: &str, key: &str| what.split(['.', ' ']).next() == Some(key);
    for key in keys {
        let tried = |v: &Variant| within(&v.what, key) && v.model.validate(&coded.data).is_ok();
        ensure!(all.iter().any(tried), "no other value of {key} is accepted");
    }
    let chosen = |v: &Variant| {
        keys.iter().any(|key| within(&v.what, key)) && v.model.validate(&coded.data).is_ok()
    };
    Ok(all.into_iter().filter(chosen).collect())
}

/// All variants that parse, valid or not.
fn variants(subject: &Subject) -> Result<Vec<Variant>> {
    let tiny = subject.tiny().to_value();
    let mut words = Vec::new();
    schema_words(&Json::from((subject.entry.schema)()), &mut words);
    let mut variants = Vec::new();
    for path in key_paths(&tiny, &[]) {
        for value in other_values(at(&tiny, &path), &words) {
            let mut section = tiny.clone();
            *at_mut(&mut section, &path) = value.clone();
            let Ok(model) = parse(subject, section) else { continue };
            if model.to_value() != tiny {
                let value = serde_json::to_string(&value)?;
                variants.push(Variant { what: format!("{} = {value}", path.join(".")), model });
            }
        }
    }
    Ok(variants)
}

/// Values of which some may be allowed where `value` is.
fn other_values(value: &Value, words: &[String]) -> Vec<Value> {
    let words = words.iter().map(|word| Value::from(word.clone()));
    match value {
        Value::Bool(b) => vec![(!b).into()],
        Value::String(_) => words.collect(),
        Value::Number(n) => {
            let n = n.as_f64().unwrap_or_default();
            vec![(n as i64 + 1).into(), (n * 0.5).into(), (n + 0.25).into(), Value::Null]
        }
        Value::Null => words.chain([1.into(), 2.into(), 0.5.into(), true.into()]).collect(),
        Value::Sequence(list) => {
            let ends = list.split_last().map(|(_, rest)| Value::Sequence(rest.to_vec()));
            ends.into_iter().chain([Value::Null]).collect()
        }
        Value::Mapping(_) | Value::Tagged(_) => Vec::new(),
    }
}

/// The values of all enumerations in a schema.
fn schema_words(schema: &Json, words: &mut Vec<String>) {
    match schema {
        Json::Object(object) => {
            let listed = object.get("enum").and_then(Json::as_array);
            let found = object.get("const").into_iter().chain(listed.into_iter().flatten());
            words.extend(found.filter_map(Json::as_str).map(str::to_owned));
            object.values().for_each(|value| schema_words(value, words));
        }
        Json::Array(list) => list.iter().for_each(|value| schema_words(value, words)),
        _ => {}
    }
}
