//! Tests of the whole model: what the trainer relies on, and a game played to its end.

use crate::{Adversarial, Gan, GanConfig, PenaltyKind, generator::Draw, model::Model};
use paragone_core::{
    Batch, Conditions, DataSpec, Error, Family, Generator, ImageShape, Latents, Loss, Noise, Phase,
    Progress, SampleRequest, StepContext,
};
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Mutex, MutexGuard},
};
use tch::{Device, Kind, Tensor, nn::VarStore};
use torch_ext::{AdamW, Autocast};

/// libtorch's CPU generator is global and not thread-safe: tests that draw from it take turns.
static LOCK: Mutex<()> = Mutex::new(());

/// The generator's lock. Tensors here are too small for a second thread to pay.
pub fn alone() -> MutexGuard<'static, ()> {
    let guard = LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    tch::set_num_threads(1);
    guard
}

const CPU: Device = Device::Cpu;
const STEP: StepContext = StepContext { step: 0, images: 0, progress: 0.0 };

fn data() -> DataSpec {
    sized(1, 8, 8)
}

fn sized(channels: i64, height: i64, width: i64) -> DataSpec {
    let shape = ImageShape { channels, height, width };
    DataSpec { shape, num_classes: 2, text: None, known_pixels: false, mean: 0.0, std: 1.0 }
}

fn model(config: &GanConfig, data: &DataSpec, seed: i64) -> (VarStore, Model) {
    tch::manual_seed(seed);
    config.validate(data).unwrap();
    let vars = VarStore::new(CPU);
    let model = Model::new(config, data, &vars.root());
    tch::no_grad(|| {
        // Off its initialisation, where residual branches are zero, so that every parameter matters.
        for (_, mut variable) in sorted(&vars).into_iter().filter(|(_, t)| t.requires_grad()) {
            let _ = variable.g_add_(&(variable.randn_like() * 0.02));
        }
    });
    (vars, model)
}

fn sorted(vars: &VarStore) -> BTreeMap<String, Tensor> {
    vars.variables().into_iter().collect()
}

fn random_batch(n: i64, data: &DataSpec) -> Batch {
    let classes: Vec<i64> = (0..n).map(|i| i % (data.num_classes + 1)).collect();
    Batch {
        images: Tensor::rand(data.shape.batch(n), (Kind::Float, CPU)) * 2.0 - 1.0,
        conditions: Conditions::of_classes(&classes, data, CPU),
    }
}

fn own(phase: &Phase, name: &str) -> bool {
    phase.parameters.contains(&name.split('.').next().unwrap())
}

/// Turns gradients on for the phase's parameters alone and clears old ones, as the trainer does.
fn enable(vars: &VarStore, trainable: &[String], phase: &Phase) {
    let all = vars.variables();
    for name in trainable {
        let mut variable = all[name].set_requires_grad(own(phase, name));
        variable.zero_grad();
    }
}

fn trainable(vars: &VarStore) -> Vec<String> {
    sorted(vars).into_iter().filter(|(_, t)| t.requires_grad()).map(|(name, _)| name).collect()
}

fn gradients(vars: &VarStore, names: &[String]) -> BTreeMap<String, Tensor> {
    let all = vars.variables();
    let gradients = names.iter().map(|name| (name.clone(), all[name].grad()));
    gradients.filter(|(_, g)| g.defined()).map(|(name, g)| (name, g.copy())).collect()
}

fn scalar(loss: &Loss, name: &str) -> f64 {
    let found = loss.scalars.iter().find(|(key, _)| *key == name);
    found.unwrap_or_else(|| panic!("no scalar {name}")).1.double_value(&[])
}

fn quiet() -> impl FnMut(Progress) -> ControlFlow<()> {
    |_: Progress| ControlFlow::Continue(())
}

fn close(a: &Tensor, b: &Tensor, tolerance: f64) -> bool {
    (a - b).abs().max().double_value(&[]) <= tolerance
}

#[test]
fn each_phase_reaches_all_of_its_parameters_and_no_others() {
    let _alone = alone();
    for loss in [
        Adversarial::Relativistic,
        Adversarial::NonSaturating,
        Adversarial::Hinge,
        Adversarial::Wasserstein,
    ] {
        let config = GanConfig { loss, ..Gan::tiny() };
        let (vars, model) = model(&config, &data(), 1);
        let names = trainable(&vars);
        let batch = random_batch(6, &data());
        let phases = model.phases();
        assert_eq!(
            phases.iter().map(|p| p.name).collect::<Vec<_>>(),
            ["discriminator", "generator"]
        );
        for name in &names {
            assert_eq!(phases.iter().filter(|phase| own(phase, name)).count(), 1, "{name}");
        }
        for phase in &phases {
            enable(&vars, &names, phase);
            model.loss(phase, &batch, &STEP).unwrap().total.backward();
            let reached = gradients(&vars, &names);
            for name in &names {
                let moved =
                    reached.get(name).is_some_and(|g| g.abs().max().double_value(&[]) > 0.0);
                assert_eq!(moved, own(phase, name), "{loss:?}, {}: {name}", phase.name);
            }
        }
    }
}

#[test]
fn micro_batches_add_up_to_the_full_batch() {
    let _alone = alone();
    let (vars, model) = model(&Gan::tiny(), &data(), 2);
    let names = trainable(&vars);
    let batch = random_batch(8, &data());
    let draw = model.generator.draw(8, CPU);
    let [discriminator, generator] = model.phases().try_into().unwrap();
    let part = |start: i64, len: i64| Draw {
        z: draw.z.narrow(0, start, len),
        pixels: draw.pixels.iter().map(|map| map.narrow(0, start, len)).collect(),
    };
    for phase in [&discriminator, &generator] {
        let accumulated = |micro: i64| {
            enable(&vars, &names, phase);
            for start in (0..8).step_by(micro as usize) {
                let batch = batch.narrow(start, micro);
                let fake = model.generator.forward(&part(start, micro), &batch.conditions);
                let loss = if phase == &discriminator {
                    model.discriminator_loss(&batch, &fake, &STEP).unwrap()
                } else {
                    model.generator_loss(&batch, &fake)
                };
                (loss.total * (micro as f64 / 8.0)).backward();
            }
            gradients(&vars, &names)
        };
        let (whole, parts) = (accumulated(8), accumulated(2));
        for (name, gradient) in &whole {
            let scale = gradient.abs().max().double_value(&[]).max(1.0);
            assert!(close(gradient, &parts[name], 1e-6 * scale), "{}: {name}", phase.name);
        }
    }
}

/// The trainer's loss is the sum that the papers define: game + every · γ/2 · (R1 + R2).
#[test]
fn penalties_join_lazily() {
    let _alone = alone();
    let config = GanConfig { gamma: 0.8, final_gamma: 0.25, penalty_every: 3, ..Gan::tiny() };
    let (_vars, model) = model(&config, &data(), 3);
    let batch = random_batch(4, &data());
    let fake = model.generator.forward(&model.generator.draw(4, CPU), &batch.conditions);
    let at = |step, progress| {
        let context = StepContext { step, progress, ..STEP };
        model.discriminator_loss(&batch, &fake, &context).unwrap()
    };
    let loss = at(6, 0.5);
    let want = scalar(&loss, "loss")
        + 3.0 * (0.8 * 0.5) / 2.0 * (scalar(&loss, "r1") + scalar(&loss, "r2"));
    assert!((loss.total.double_value(&[]) - want).abs() < 1e-5);
    assert!(scalar(&loss, "r1") > 0.0 && scalar(&loss, "r2") > 0.0);
    let bare = at(7, 0.5);
    assert_eq!(bare.total.double_value(&[]), scalar(&bare, "loss"));
    assert!(
        bare.scalars.iter().all(|(name, _)| !name.starts_with('r') || *name == "real_minus_fake")
    );
}

/// A discriminator's loss on real images that ask for `classes`, with mismatches of weight 0.5 and without, and its
/// gradients.
fn with_and_without_mismatches(
    loss: Adversarial,
    classes: &[i64],
) -> [(Tensor, BTreeMap<String, Tensor>); 2] {
    let batch = asked(classes);
    [0.5, 0.0].map(|mismatched| {
        let config =
            GanConfig { loss, mismatched, penalty: Some(PenaltyKind::None), ..Gan::tiny() };
        let (vars, model) = model(&config, &data(), 5);
        tch::manual_seed(1);
        let fake = model.generator.draw(batch.len(), CPU);
        let fake = model.generator.forward(&fake, &batch.conditions);
        let total = model.discriminator_loss(&batch, &fake, &STEP).unwrap().total;
        total.backward();
        (total.detach(), gradients(&vars, &trainable(&vars)))
    })
}

fn asked(classes: &[i64]) -> Batch {
    let conditions = Conditions::of_classes(classes, &data(), CPU);
    tch::manual_seed(0);
    Batch { conditions, ..random_batch(classes.len() as i64, &data()) }
}

/// Logits of `batch`'s images, in rows, under the classes of `columns`.
fn every_logit(model: &Model, batch: &Batch, columns: &[i64]) -> Tensor {
    let condition = model.discriminator.embed(&Conditions::of_classes(columns, &data(), CPU));
    model.discriminator.features(&batch.images).matmul(&condition.tr())
        / (Gan::tiny().discriminator.features as f64).sqrt()
}

/// In whatever game, a real image is to be recognised as its own condition's among all of the batch's, nothing being one of them.
#[test]
fn real_images_are_told_from_mismatched_ones() {
    let _alone = alone();
    let classes = [0, 1, 1, data().null_class()];
    let (_vars, model) = model(&Gan::tiny(), &data(), 5);
    let every = every_logit(&model, &asked(&classes), &classes);
    let shares = every.exp() / every.exp().sum_dim_intlist(1, true, Kind::Float);
    let want = shares.diagonal(0, 0, 1).log().mean(Kind::Float) * -0.5;
    for loss in [Adversarial::Relativistic, Adversarial::NonSaturating] {
        let [(with, _), (without, _)] = with_and_without_mismatches(loss, &classes);
        assert!(close(&with, &(without + &want), 1e-5), "{loss:?}");
    }
}

/// Between two conditions it is the relativistic game: an image under its own is to beat itself under the other.
#[test]
fn a_mismatch_of_two_is_the_relativistic_game() {
    let _alone = alone();
    let (loss, classes) = (Adversarial::Relativistic, [0, 1]);
    let (_vars, model) = model(&Gan::tiny(), &data(), 5);
    let every = every_logit(&model, &asked(&classes), &classes);
    let (own, other) = (every.diagonal(0, 0, 1), every.fliplr().diagonal(0, 0, 1));
    let [(with, _), (without, _)] = with_and_without_mismatches(loss, &classes);
    let want = without + loss.discriminator(&own, &other).mean(Kind::Float) * 0.5;
    assert!(close(&with, &want, 1e-5));
}

/// Another image that asks for the same is no mismatch: nothing is learnt from it, and what is learnt from others is unchanged.
#[test]
fn only_what_is_wrong_is_a_mismatch() {
    let _alone = alone();
    for loss in [Adversarial::Relativistic, Adversarial::NonSaturating] {
        let [(with, learnt), (without, want)] = with_and_without_mismatches(loss, &[1, 1, 1]);
        assert!(close(&with, &(without + 3f64.ln() * 0.5), 1e-5));
        assert!(learnt.iter().all(|(name, gradient)| close(gradient, &want[name], 1e-6)));
        let [(_, learnt), (_, want)] = with_and_without_mismatches(loss, &[0, 1, 1]);
        assert!(learnt.iter().any(|(name, gradient)| !close(gradient, &want[name], 1e-4)));
    }
}

/// R1 differentiates the real images' logits alone, R1 + R2 both.
#[test]
fn each_penalty_is_its_own() {
    let _alone = alone();
    let of = |penalty| {
        let config = GanConfig { penalty: Some(penalty), ..Gan::tiny() };
        let (_vars, model) = model(&config, &data(), 4);
        let batch = random_batch(4, &data());
        let fake = model.generator.forward(&model.generator.draw(4, CPU), &batch.conditions);
        model.discriminator_loss(&batch, &fake, &STEP).unwrap()
    };
    let (none, r1, both, interpolates) = (
        of(PenaltyKind::None),
        of(PenaltyKind::R1),
        of(PenaltyKind::R1R2),
        of(PenaltyKind::Interpolates),
    );
    assert_eq!(scalar(&r1, "r1"), scalar(&both, "r1"));
    let gap = |a: &Loss, b: &Loss| a.total.double_value(&[]) - b.total.double_value(&[]);
    let gamma = Gan::tiny().gamma;
    assert!((gap(&r1, &none) - gamma * scalar(&r1, "r1")).abs() < 1e-5); // every 2 steps × γ/2
    assert!((gap(&both, &r1) - gamma * scalar(&both, "r2")).abs() < 1e-5);
    assert!(
        (gap(&interpolates, &none) - 20.0 * scalar(&interpolates, "gradient_penalty")).abs() < 1e-3
    );
}

#[test]
fn penalties_survive_bf16() {
    let _alone = alone();
    let (vars, model) = model(&Gan::tiny(), &data(), 5);
    let names = trainable(&vars);
    let batch = random_batch(16, &data());
    let [discriminator, _] = model.phases().try_into().unwrap();
    let run = |kind: Option<Kind>| {
        enable(&vars, &names, &discriminator);
        tch::manual_seed(7);
        let loss = {
            let _autocast = Autocast::enter(CPU, kind).unwrap();
            model.loss(&discriminator, &batch, &STEP).unwrap()
        };
        assert_eq!(loss.total.kind(), Kind::Float);
        loss.total.backward();
        (scalar(&loss, "r1") + scalar(&loss, "r2"), gradients(&vars, &names))
    };
    let ((exact, want), (rounded, got)) = (run(None), run(Some(Kind::BFloat16)));
    assert!((rounded / exact - 1.0).abs() < 0.03, "{rounded} is not {exact}");
    let flat = |gradients: &BTreeMap<String, Tensor>| {
        Tensor::cat(&gradients.values().map(|g| g.flatten(0, -1)).collect::<Vec<_>>(), 0)
    };
    let (want, got) = (flat(&want), flat(&got));
    let cosine = (want.dot(&got) / (want.norm() * got.norm())).double_value(&[]);
    assert!(cosine > 0.99, "{cosine}");
}

#[test]
fn every_size_and_condition_builds_and_samples() {
    let _alone = alone();
    for data in [sized(1, 28, 28), sized(3, 16, 16), sized(3, 32, 32), sized(3, 8, 12)] {
        let (_vars, model) = model(&GanConfig::default(), &data, 6);
        let (none, noise) = (Conditions::none(2, &data, CPU), Noise::new(vec![1, 2], CPU));
        let images =
            tch::no_grad(|| model.sample(&SampleRequest::new(&none, &noise), &mut quiet()))
                .unwrap();
        assert_eq!(images.size(), data.shape.batch(2));
        assert!(images.abs().max().double_value(&[]) <= 1.0);
    }
}

#[test]
fn an_image_is_its_seed_s_whatever_the_batch() {
    let _alone = alone();
    let data = data();
    let (_vars, model) = model(&Gan::tiny(), &data, 8);
    let conditions = Conditions::of_classes(&[0, 1, 2, 1, 0], &data, CPU);
    let noise = Noise::new(vec![3, 1, 4, 1, 5], CPU);
    let draw = |start, len, temperature| {
        let (conditions, noise) = (conditions.narrow(start, len), noise.narrow(start, len));
        let request = SampleRequest { temperature, ..SampleRequest::new(&conditions, &noise) };
        tch::no_grad(|| model.sample(&request, &mut quiet())).unwrap()
    };
    let all = draw(0, 5, 1.0);
    assert!(close(&all.narrow(0, 2, 2), &draw(2, 2, 1.0), 1e-5));
    assert!(close(&all.get(1), &all.get(3), 1e-5), "same seed, same class");
    assert!(!close(&all.get(0), &all.get(4), 1e-2), "another seed");
    // At temperature 0 nothing is left to chance.
    let cold = draw(0, 5, 0.0);
    assert!(close(&cold.get(0), &cold.get(4), 1e-6) && !close(&cold.get(0), &cold.get(1), 1e-3));
}

#[test]
fn sampling_reports_stops_and_refuses_guidance() {
    let _alone = alone();
    let data = data();
    let (_vars, model) = model(&Gan::tiny(), &data, 9);
    let (none, noise) = (Conditions::none(1, &data, CPU), Noise::new(vec![1], CPU));
    let request = SampleRequest::new(&none, &noise);
    let mut calls = Vec::new();
    let mut watch = |progress: Progress| {
        calls.push((progress.call, progress.calls, (progress.images)().size()));
        ControlFlow::Break(())
    };
    assert!(matches!(model.sample(&request, &mut watch), Err(Error::Stopped)));
    assert_eq!(calls, [(1, 1, vec![1, 1, 8, 8])]);
    let guided = SampleRequest { guidance_scale: 2.0, ..request };
    let error = model.sample(&guided, &mut quiet()).unwrap_err().to_string();
    assert!(error.starts_with("guidance_scale is 2, but a gan"), "{error}");
    assert!(model.likelihood().is_err() && model.noising().is_err());
}

#[test]
fn encoding_finds_a_latent_that_shows_the_image() {
    let _alone = alone();
    let data = data();
    let (_vars, model) = model(&Gan::tiny(), &data, 10);
    let conditions = Conditions::of_classes(&[0, 1, 2, 1], &data, CPU);
    let request_noise = Noise::new((0..4).collect(), CPU);
    let request =
        SampleRequest { temperature: 0.0, ..SampleRequest::new(&conditions, &request_noise) };
    let hidden = request_noise.normal(99, &[8]);
    let images = tch::no_grad(|| model.decode(&hidden, &request)).unwrap();
    let batch = Batch { images, conditions: conditions.narrow(0, 4) };
    let noise = Noise::new((10..14).collect(), CPU);
    let mut calls = 0;
    let mut count = |progress: Progress| {
        calls += 1;
        assert_eq!((progress.call, progress.calls), (calls, 39));
        ControlFlow::Continue(())
    };
    let found = tch::no_grad(|| model.encode(&batch, &noise, &mut count)).unwrap();
    assert_eq!((calls, found.size()), (39, vec![4, 8]));
    let error = |z: &Tensor| {
        let shown = tch::no_grad(|| model.decode(z, &request)).unwrap();
        let squared = (shown - &batch.images).square();
        squared.mean_dim([1, 2, 3].as_slice(), false, Kind::Float)
    };
    let (best, random) = (error(&found), error(&noise.normal(50, &[8])));
    assert!((&best * 4.0).less_tensor(&random).all().int64_value(&[]) == 1, "{best} {random}");
    // Rows do not meet: an image alone finds the same latent.
    let alone =
        tch::no_grad(|| model.encode(&batch.narrow(2, 1), &noise.narrow(2, 1), &mut quiet()))
            .unwrap();
    assert!(close(&alone, &found.narrow(0, 2, 1), 1e-2));
}

#[test]
fn adaptive_augmentation_follows_the_discriminator_alone() {
    let _alone = alone();
    let mut config = Gan::tiny();
    config.augment.target = Some(0.5);
    config.augment.ramp_images = 60.0;
    let (vars, model) = model(&config, &data(), 11);
    let [discriminator, generator] = model.phases().try_into().unwrap();
    let batch = random_batch(6, &data());
    let strength = || vars.variables()["discriminator.augment_strength"].double_value(&[]);
    let with = |phase: &Phase, verdicts: f64| {
        let loss = model.loss(phase, &batch, &STEP).unwrap();
        let statistics = loss.statistics.iter().map(Tensor::shallow_clone).collect::<Vec<_>>();
        if let [signs, images] = statistics.as_slice() {
            assert!(signs.double_value(&[]).abs() <= 6.0 && images.double_value(&[]) == 6.0);
            let told = Loss { statistics: vec![signs.full_like(verdicts), images.copy()], ..loss };
            model.after_step(phase, &told, &STEP).unwrap();
        } else {
            model.after_step(phase, &loss, &STEP).unwrap();
        }
    };
    with(&discriminator, 6.0);
    assert!((strength() - 0.1).abs() < 1e-6);
    with(&generator, 6.0);
    assert!((strength() - 0.1).abs() < 1e-6);
    with(&discriminator, -6.0);
    assert_eq!(strength(), 0.0);
    assert!(!vars.variables()["discriminator.augment_strength"].requires_grad());
}

#[test]
fn wrong_values_name_key_and_rule() {
    let check = |change: fn(&mut GanConfig), want: &str| {
        let mut config = GanConfig::default();
        change(&mut config);
        assert_eq!(Gan::validate(&config, &sized(1, 28, 28)).unwrap_err().to_string(), want);
    };
    check(|c| c.gamma = -1.0, "gamma is -1, but must be finite and at least 0");
    check(|c| c.final_gamma = 0.0, "final_gamma is 0, but must be in (0, 1]");
    check(|c| c.penalty_every = 0, "penalty_every is 0, but must be at least 1");
    check(|c| c.augment.cutout = 1.5, "augment.cutout is 1.5, but must be in [0, 1]");
    check(|c| c.generator.style_dim = -1, "generator.style_dim is -1, but must not be negative");
    check(
        |c| c.generator.blocks = vec![1; 9],
        "generator.blocks is [1, 1, 1, 1, 1, 1, 1, 1, 1], but must have 2 entries like generator.widths, none of them \
         negative",
    );
    check(|c| c.generator.patch = 0, "generator.patch is 0, but must be at least 1");
    check(
        |c| {
            c.discriminator.widths = vec![8; 4];
            c.discriminator.blocks = vec![1; 4];
            c.discriminator.patch = 2;
        },
        "discriminator.widths is [8, 8, 8, 8], but cuts the image into patches of 2 and halves it 3 times, which \
         28×28 pixels cannot be: give fewer entries, smaller patches or another image size",
    );
    let huge = GanConfig {
        generator: crate::GeneratorConfig {
            widths: vec![1; 80],
            blocks: vec![1; 80],
            ..Default::default()
        },
        ..GanConfig::default()
    };
    assert!(Gan::validate(&huge, &sized(1, 28, 28)).is_err());
    for data in [sized(1, 28, 28), sized(3, 16, 16), sized(3, 32, 32)] {
        Gan::validate(&GanConfig::default(), &data).unwrap();
    }
    Gan::validate(&Gan::tiny(), &data()).unwrap();
}

/// Names that experiments write.
#[test]
fn configurations_read_as_the_papers_write() {
    let read = |text: &str| serde_json::from_str::<GanConfig>(text);
    let config = read(r#"{"loss": "non-saturating", "penalty": "r1-r2"}"#).unwrap();
    assert_eq!((config.loss, config.penalty()), (Adversarial::NonSaturating, PenaltyKind::R1R2));
    assert_eq!(read("{}").unwrap(), GanConfig::default());
    for (loss, own) in [
        ("relativistic", PenaltyKind::R1R2),
        ("non-saturating", PenaltyKind::R1),
        ("hinge", PenaltyKind::None),
        ("wasserstein", PenaltyKind::Interpolates),
    ] {
        assert_eq!(read(&format!(r#"{{"loss": "{loss}"}}"#)).unwrap().penalty(), own);
    }
    assert!(read(r#"{"penalties": "none"}"#).unwrap_err().to_string().contains("penalties"));
}

/// γ falls geometrically: its logarithm halfway is the mean of the ends'.
#[test]
fn gamma_falls() {
    let config = GanConfig { gamma: 8.0, final_gamma: 0.25, ..GanConfig::default() };
    let gammas = [0.0, 0.5, 1.0].map(|progress| config.gamma_at(progress));
    assert_eq!(gammas, [8.0, 4.0, 2.0]);
}

/// Two patterns under one class (mode coverage), a third under the other (conditioning), with a hand-written trainer.
#[test]
fn a_short_game_covers_both_modes() {
    let _alone = alone();
    let data = data();
    let ramp = Tensor::linspace(-0.9, 0.9, 8, (Kind::Float, CPU));
    let columns = ramp.view([1, 1, 1, 8]).expand([1, 1, 8, 8], false);
    let patterns = Tensor::cat(&[&columns, &columns.transpose(2, 3), &-columns.shallow_clone()], 0);
    let n = 32;
    let which: Vec<i64> = (0..n).map(|i| i % 4 % 3).collect(); // patterns 0, 1, 2, 0
    let classes: Vec<i64> = which.iter().map(|pattern| pattern / 2).collect();
    let batch = Batch {
        images: patterns.index_select(0, &Tensor::from_slice(&which)),
        conditions: Conditions::of_classes(&classes, &data, CPU),
    };
    tch::manual_seed(12);
    let vars = VarStore::new(CPU);
    let config = Gan::tiny();
    let model = Model::new(&config, &data, &vars.root());
    let names = trainable(&vars);
    let mut state: BTreeMap<_, _> = names
        .iter()
        .map(|name| {
            let zero = vars.variables()[name].zeros_like();
            (name, [zero.copy(), zero, Tensor::zeros([], (Kind::Float, CPU))])
        })
        .collect();
    let steps = 600;
    for step in 0..steps {
        let progress = step as f64 / steps as f64;
        for phase in &model.phases() {
            enable(&vars, &names, phase);
            let context = StepContext { step, images: step * n as u64, progress };
            model.loss(phase, &batch, &context).unwrap().total.backward();
            let all = vars.variables();
            let optimizer = phase.optimizer;
            let adam = AdamW {
                lr: optimizer.lr_at(progress),
                betas: optimizer.betas.into(),
                weight_decay: 0.0,
                eps: 1e-8,
            };
            for name in names.iter().filter(|name| own(phase, name)) {
                let [mean, square, count] = state.get_mut(name).unwrap();
                let one = |t: &Tensor| [t.shallow_clone()];
                adam.update(
                    &one(&all[name]),
                    &one(&all[name].grad()),
                    &one(mean),
                    &one(square),
                    &one(count),
                    None,
                )
                .unwrap();
            }
        }
    }
    let conditions = Conditions::of_classes(&[0; 64], &data, CPU);
    let noise = Noise::new((0..64).collect(), CPU);
    let images =
        tch::no_grad(|| model.sample(&SampleRequest::new(&conditions, &noise), &mut quiet()))
            .unwrap();
    let distance = (images.unsqueeze(1) - patterns.unsqueeze(0)).square().mean_dim(
        [2, 3, 4].as_slice(),
        false,
        Kind::Float,
    );
    let nearest = Vec::<i64>::try_from(distance.argmin(1, false)).unwrap();
    let count = |pattern| nearest.iter().filter(|&&found| found == pattern).count();
    assert!(distance.min_dim(1, false).0.mean(Kind::Float).double_value(&[]) < 0.05, "{distance}");
    assert!(
        count(0) >= 16 && count(1) >= 6 && count(2) == 0,
        "{:?}",
        [count(0), count(1), count(2)]
    );
}
