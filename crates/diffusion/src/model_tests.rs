//! The whole family on small networks.

use crate::{
    ConsistencyConfig, Diffusion, DiffusionConfig, NoiseDensity, Objective, OdeLikelihoodConfig,
    SamplerConfig, SamplerName, ScheduleConfig, UNetConfig,
    model::DiffusionModel,
    test_support::{lock, spec},
};
use paragone_core::{
    Batch, Conditions, DataSpec, Error, Family, Generator, Known, LikelihoodKind, Noise, OnStep,
    Progress, SampleRequest, StepContext, from_levels,
};
use std::ops::ControlFlow;
use tch::{
    Device, Kind, Tensor,
    nn::{self, OptimizerConfig, VarStore},
};

const OBJECTIVES: [Objective; 5] =
    [Objective::Eps, Objective::X0, Objective::V, Objective::Edm, Objective::FlowMatching];
const SAMPLERS: [SamplerName; 5] = [
    SamplerName::Ancestral,
    SamplerName::Ddim,
    SamplerName::DpmSolverPp,
    SamplerName::SdeDpmSolverPp,
    SamplerName::Heun,
];
const STEP: StepContext = StepContext { step: 0, images: 0, progress: 0.0 };

fn data() -> DataSpec {
    spec(1, 8, 8)
}

/// A small model; `alive` moves its weights off their start, at which the network's output is zero.
fn build(config: &DiffusionConfig, data: &DataSpec, alive: bool) -> (VarStore, Box<dyn Generator>) {
    Diffusion::validate(config, data).unwrap();
    tch::manual_seed(1);
    let vars = VarStore::new(Device::Cpu);
    let model = Diffusion::build(config, data, vars.root()).unwrap();
    if alive {
        tch::no_grad(|| {
            let mut variables: Vec<_> = vars.variables().into_iter().collect();
            variables.sort_by(|a, b| a.0.cmp(&b.0));
            for (_, mut variable) in variables {
                variable += variable.randn_like() * 0.1;
            }
        });
    }
    (vars, model)
}

fn with_sampler(name: SamplerName, steps: usize) -> DiffusionConfig {
    let sampler = SamplerConfig { name, steps: Some(steps), ..SamplerConfig::default() };
    DiffusionConfig { sampler, ..Diffusion::tiny() }
}

fn watch(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn conditions(classes: &[i64]) -> Conditions {
    Conditions::of_classes(classes, &data(), Device::Cpu)
}

fn sample(model: &dyn Generator, classes: &[i64], seeds: &[u64], guidance_scale: f64) -> Tensor {
    let noise = Noise::new(seeds.to_vec(), Device::Cpu);
    let conditions = conditions(classes);
    let request = SampleRequest { guidance_scale, ..SampleRequest::new(&conditions, &noise) };
    model.sample(&request, &mut watch).unwrap()
}

fn batch(n: i64) -> Batch {
    let levels = (Tensor::arange(n * 64, (Kind::Int64, Device::Cpu)) * 37).remainder(256);
    let images = from_levels(&levels).reshape([n, 1, 8, 8]);
    Batch { images, conditions: conditions(&(0..n).map(|i| i % 10).collect::<Vec<_>>()) }
}

/// The shares of a standardized density within a fifth of its middle, by its distribution function: erf(0.2 / √2), 1 − e^(−0.2 √2).
#[test]
fn noise_levels_of_training_are_of_the_density_asked_for() {
    let _lock = lock();
    tch::manual_seed(0);
    for (p_shape, middle) in [(NoiseDensity::Normal, 0.1585), (NoiseDensity::Laplace, 0.2464)] {
        let config = DiffusionConfig {
            objective: Objective::FlowMatching,
            p_mean: 0.5,
            p_std: 1.5,
            p_shape,
            ..Diffusion::tiny()
        };
        let model = DiffusionModel::new(&config, &data(), VarStore::new(Device::Cpu).root());
        let sigmas = Tensor::from_slice(&model.training_sigmas(40_000));
        let z = (sigmas.log() - 0.5) / 1.5;
        let mean = |x: Tensor| x.mean(Kind::Double).double_value(&[]);
        assert!(mean(z.shallow_clone()).abs() < 0.02);
        assert!((mean(z.square()) - 1.0).abs() < 0.05);
        let found = mean(z.abs().less(0.2).to_kind(Kind::Double));
        assert!((found - middle).abs() < 0.01, "{p_shape:?}: {found}");
    }
}

#[test]
fn experiments_read_as_written() {
    let read = |yaml: &str| serde_yaml::from_str::<DiffusionConfig>(yaml);
    let headline =
        read("{ num_timesteps: 1000, sampler: { name: sde-dpm-solver++, steps: 20 } }").unwrap();
    assert_eq!(headline.sampler.steps, Some(20));
    assert_eq!(
        headline,
        DiffusionConfig {
            sampler: SamplerConfig { steps: Some(20), ..SamplerConfig::default() },
            ..DiffusionConfig::default()
        }
    );
    let textbook = read(
        "{ objective: eps, num_timesteps: 100, schedule: { name: linear, beta_start: 1.0e-4, beta_end: 0.02, \
         scale_to_timesteps: false }, sampler: { name: ancestral } }",
    )
    .unwrap();
    assert_eq!(textbook.sampler.num_steps(100), 100);
    assert!(!textbook.schedule.scale_to_timesteps);
    let error = read("{ sampler: { stepps: 3 } }").unwrap_err().to_string();
    assert!(error.contains("stepps") && error.contains("line 1"), "{error}");
    let written = serde_yaml::to_string(&textbook).unwrap();
    assert_eq!(read(&written).unwrap(), textbook);
}

#[test]
fn invalid_values_are_errors_naming_the_key() {
    let message =
        |config: DiffusionConfig| Diffusion::validate(&config, &data()).unwrap_err().to_string();
    let default = DiffusionConfig::default;
    assert_eq!(
        message(DiffusionConfig { num_timesteps: 1, ..default() }),
        "num_timesteps is 1, but must be at least 2"
    );
    assert_eq!(
        message(DiffusionConfig { num_timesteps: 50, ..with_sampler(SamplerName::Ddim, 51) }),
        "sampler.steps is 51, but must be at most num_timesteps (50), of which the steps are chosen"
    );
    assert_eq!(
        message(DiffusionConfig {
            schedule: ScheduleConfig { beta_end: 1.0, ..ScheduleConfig::default() },
            ..default()
        }),
        "schedule.beta_end is 1, but must be between 0 and 1"
    );
    let faint = ScheduleConfig { beta_start: 1e-9, beta_end: 1e-9, ..ScheduleConfig::default() };
    assert_eq!(
        message(DiffusionConfig { objective: Objective::Eps, schedule: faint, ..default() }),
        "schedule is one with σ_T = 1.0e-3, but must end above σ = 2.3e-3, unless ode_likelihood.steps is 0"
    );
    assert_eq!(
        message(DiffusionConfig {
            ode_likelihood: OdeLikelihoodConfig { draws: 0, ..OdeLikelihoodConfig::default() },
            ..default()
        }),
        "ode_likelihood.draws is 0, but must be at least 1"
    );
    assert_eq!(
        message(with_sampler(SamplerName::Consistency, 2)),
        "sampler.name is consistency, but goes with the key `consistency`"
    );
    assert_eq!(
        message(DiffusionConfig { consistency: Some(ConsistencyConfig::default()), ..default() }),
        "sampler.name is sde-dpm-solver++, but must be consistency here"
    );
    let sampler = SamplerConfig { sigma_min: Some(50.0), ..SamplerConfig::default() };
    assert_eq!(
        message(DiffusionConfig { sampler, ..default() }),
        "sampler.sigma_max is 40, but must be above sigma_min"
    );
    assert_eq!(
        message(DiffusionConfig { least_weight: 0.1, ..default() }),
        "least_weight is 0.1, but goes with the key `min_snr_gamma`"
    );
}

#[test]
fn every_sampler_works_with_every_objective() {
    let _lock = lock();
    for objective in OBJECTIVES {
        for name in SAMPLERS {
            let config = DiffusionConfig { objective, ..with_sampler(name, 3) };
            let (_vars, model) = build(&config, &data(), true);
            let images = sample(&*model, &[0, 3, 10], &[1, 2, 3], 1.0);
            assert_eq!(images.size(), [3, 1, 8, 8]);
            let largest = images.abs().max().double_value(&[]);
            assert!(largest <= 1.0, "{objective:?} {name:?}: {largest}");
            assert!(images.std(true).double_value(&[]) > 0.01, "{objective:?} {name:?} is blank");
            // Row 1 alone, from the same seed.
            let alone = sample(&*model, &[3], &[2], 1.0);
            assert!(alone.allclose(&images.narrow(0, 1, 1), 1e-4, 1e-4, false));
        }
    }
}

#[test]
fn progress_counts_every_call_and_stops() {
    let _lock = lock();
    let noise = Noise::new(vec![7, 8], Device::Cpu);
    let conditions = conditions(&[1, 2]);
    for (name, guidance_scale, want) in [
        (SamplerName::Ancestral, 1.0, 3),
        (SamplerName::DpmSolverPp, 2.0, 6),
        (SamplerName::SdeDpmSolverPp, 1.0, 3),
        (SamplerName::Heun, 1.0, 5),
        (SamplerName::Heun, 0.5, 10),
    ] {
        let (_vars, model) = build(&with_sampler(name, 3), &data(), true);
        let request = SampleRequest { guidance_scale, ..SampleRequest::new(&conditions, &noise) };
        let mut seen = Vec::new();
        let mut pictures = Vec::new();
        let drawn = model.sample(&request, &mut |progress: Progress| {
            seen.push((progress.call, progress.calls));
            pictures.push((progress.images)());
            ControlFlow::Continue(())
        });
        assert_eq!(seen, (1..=want).map(|call| (call, want)).collect::<Vec<_>>());
        assert!(pictures.iter().all(|p| p.abs().max().double_value(&[]) <= 1.0));
        // From noise, as `noised` shows it at the end of the forward process, to something else.
        let start = noise.normal(0, &data().shape.dims()) + data().mean;
        let start = start.clamp(-1.0, 1.0);
        assert!(pictures[0].allclose(&start, 1e-5, 1e-5, false));
        assert!(!drawn.unwrap().allclose(&start, 1e-2, 1e-2, false));
        let mut calls = 0;
        let stopped = model.sample(&request, &mut |_: Progress| {
            calls += 1;
            if calls == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(Error::Stopped)));
        assert_eq!(calls, 2);
    }
}

#[test]
fn guidance_one_is_none_and_zero_is_unconditional() {
    let _lock = lock();
    let (_vars, model) = build(&with_sampler(SamplerName::DpmSolverPp, 4), &data(), true);
    let draw = |classes: &[i64], guidance| sample(&*model, classes, &[3, 4], guidance);
    let plain = draw(&[1, 2], 1.0);
    assert!(plain.allclose(&draw(&[1, 2], 1.0 + 1e-7), 1e-4, 1e-4, false));
    assert!(draw(&[1, 2], 0.0).allclose(&draw(&[10, 10], 1.0), 1e-4, 1e-4, false));
    assert!(!plain.allclose(&draw(&[10, 10], 1.0), 1e-2, 1e-2, false));
    assert!(!plain.allclose(&draw(&[1, 2], 4.0), 1e-2, 1e-2, false));
}

#[test]
fn temperature_zero_leaves_nothing_to_chance() {
    let _lock = lock();
    for name in [SamplerName::Ancestral, SamplerName::SdeDpmSolverPp, SamplerName::DpmSolverPp] {
        let (_vars, model) = build(&with_sampler(name, 3), &data(), true);
        let noise = Noise::new(vec![7, 8], Device::Cpu);
        let conditions = conditions(&[1, 1]);
        let request = SampleRequest { temperature: 0.0, ..SampleRequest::new(&conditions, &noise) };
        let images = model.sample(&request, &mut watch).unwrap();
        assert!(images.get(0).allclose(&images.get(1), 1e-5, 1e-5, false));
    }
}

/// An untrained network predicts zero, so the loss is the mean square of the target: known for every objective.
#[test]
fn untrained_losses_are_the_targets_mean_squares() {
    let _lock = lock();
    let data = DataSpec { mean: 0.0, std: 1.0, ..data() };
    let images = (Tensor::randn([400, 1, 8, 8], (Kind::Float, Device::Cpu)).sign()) * 1.0;
    let batch = Batch { images, conditions: Conditions::none(400, &data, Device::Cpu) };
    for (objective, want) in [
        (Objective::Eps, 1.0),
        (Objective::X0, 1.0),
        (Objective::V, 1.0),
        (Objective::Edm, 1.0),
        (Objective::FlowMatching, 2.0),
    ] {
        let (_vars, model) =
            build(&DiffusionConfig { objective, ..Diffusion::tiny() }, &data, false);
        let phase = &model.phases()[0];
        let loss = model.loss(phase, &batch, &STEP).unwrap();
        let total = loss.total.double_value(&[]);
        assert!((total / want - 1.0).abs() < 0.03, "{objective:?}: {total}, not {want}");
        assert_eq!(loss.scalars.iter().map(|s| s.0).collect::<Vec<_>>(), ["loss", "mse"]);
    }
}

#[test]
fn every_objective_learns() {
    let _lock = lock();
    let batch = batch(4);
    let weighted =
        DiffusionConfig { objective: Objective::V, min_snr_gamma: Some(5.0), ..Diffusion::tiny() };
    let plain = OBJECTIVES.map(|objective| DiffusionConfig { objective, ..Diffusion::tiny() });
    for config in plain.iter().chain([&weighted]) {
        let (vars, model) = build(config, &data(), false);
        let mut optimizer = nn::AdamW::default().build(&vars, 5e-3).unwrap();
        let phase = &model.phases()[0];
        let losses: Vec<f64> = (0..100)
            .map(|step| {
                tch::manual_seed(step % 25); // the same noise again, so that the quarters compare
                let loss = model.loss(phase, &batch, &STEP).unwrap().total;
                optimizer.backward_step(&loss);
                loss.double_value(&[])
            })
            .collect();
        let (first, last) = (losses[..25].iter().sum::<f64>(), losses[75..].iter().sum::<f64>());
        assert!(last < 0.8 * first, "{:?}: {first} to {last}", config.objective);
    }
}

/// Two images are possible: a denoiser's one call from pure noise gives their average, a tuned model's one of them.
#[test]
fn tuned_for_consistency_one_call_gives_one_image() {
    let _lock = lock();
    let spec = DataSpec { mean: 0.0, std: 0.7, ..data() };
    let images =
        Tensor::from_slice(&[0.7f32, -0.7]).reshape([2, 1, 1, 1]).expand([2, 1, 8, 8], false);
    let images = images.repeat([16, 1, 1, 1]);
    let batch = Batch { images, conditions: Conditions::none(32, &spec, Device::Cpu) };
    let sampler = |name| SamplerConfig { name, steps: Some(1), ..SamplerConfig::default() };
    let denoiser =
        DiffusionConfig { p_std: 2.0, sampler: sampler(SamplerName::Ddim), ..Diffusion::tiny() };
    let tuned = DiffusionConfig {
        consistency: Some(ConsistencyConfig { halvings: 4 }),
        sampler: sampler(SamplerName::Consistency),
        ..denoiser.clone()
    };
    let (mut vars, model) = build(&denoiser, &spec, false);
    let train = |vars: &VarStore, model: &dyn Generator, lr, steps: u64| {
        let mut optimizer = nn::AdamW::default().build(vars, lr).unwrap();
        for step in 0..steps {
            let progress = step as f64 / steps as f64;
            let context = StepContext { step, images: 32 * step, progress };
            let loss = model.loss(&model.phases()[0], &batch, &context).unwrap();
            optimizer.backward_step(&loss.total);
        }
    };
    // Of the level that an image comes to on average, how far from 0, where the average of both is.
    let decided = |model: &dyn Generator| {
        let noise = Noise::new((0..64).collect(), Device::Cpu);
        let conditions = Conditions::none(64, &spec, Device::Cpu);
        let request = SampleRequest::new(&conditions, &noise);
        let drawn = model.sample(&request, &mut watch).unwrap();
        let levels = drawn.mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float);
        levels.abs().mean(Kind::Float).double_value(&[])
    };
    train(&vars, &*model, 5e-3, 200);
    assert!(decided(&*model) < 0.3, "{}", decided(&*model));
    let (tuned_vars, tuned) = build(&tuned, &spec, false);
    vars.freeze();
    let trained = vars.variables();
    tch::no_grad(|| {
        for (name, mut value) in tuned_vars.variables() {
            value.copy_(&trained[&name]);
        }
    });
    train(&tuned_vars, &*tuned, 2e-3, 800);
    assert!(decided(&*tuned) > 0.5, "{}", decided(&*tuned));
    assert!(tuned.likelihood().is_err() && tuned.latents().is_err());
}

/// What the network says of known pixels has no part in the loss, be the parameters what they may.
#[test]
fn known_pixels_are_not_learnt() {
    let _lock = lock();
    let data = DataSpec { known_pixels: true, ..data() };
    let consistency = Some(ConsistencyConfig::default());
    let tuned = DiffusionConfig { consistency, ..with_sampler(SamplerName::Consistency, 2) };
    for config in [Diffusion::tiny(), tuned] {
        let (_vars, model) = build(&config, &data, true);
        let images = Tensor::rand([4, 1, 8, 8], (Kind::Float, Device::Cpu));
        let loss = |mask: f64| {
            let mut conditions = Conditions::none(4, &data, Device::Cpu);
            let mask = Tensor::full([4, 1, 8, 8], mask, (Kind::Float, Device::Cpu));
            conditions.known = Some(Known { pixels: images.shallow_clone(), mask });
            let batch = Batch { images: images.shallow_clone(), conditions };
            let step = StepContext { step: 0, images: 0, progress: 0.5 };
            model.loss(&model.phases()[0], &batch, &step).unwrap().total.double_value(&[])
        };
        assert!(loss(0.0) > 0.0);
        assert_eq!(loss(1.0), 0.0);
    }
}

#[test]
fn known_pixels_reach_the_network() {
    let _lock = lock();
    let data = DataSpec { known_pixels: true, ..data() };
    let (_vars, model) = build(&with_sampler(SamplerName::Ddim, 3), &data, true);
    let noise = Noise::new(vec![7], Device::Cpu);
    let draw = |mask: f64, pixel: f64| {
        let mut conditions = Conditions::none(1, &data, Device::Cpu);
        conditions.known = Some(Known {
            pixels: Tensor::full([1, 1, 8, 8], pixel, (Kind::Float, Device::Cpu)),
            mask: Tensor::full([1, 1, 8, 8], mask, (Kind::Float, Device::Cpu)),
        });
        model.sample(&SampleRequest::new(&conditions, &noise), &mut watch).unwrap()
    };
    assert!(!draw(1.0, 0.9).allclose(&draw(1.0, -0.9), 1e-3, 1e-3, false));
    // What is under an empty mask means nothing.
    assert!(draw(0.0, 0.9).equal(&draw(0.0, -0.9)));
}

#[test]
fn facts_tell_a_process_that_ends_in_noise_from_one_that_does_not() {
    let _lock = lock();
    let fact = |scale_to_timesteps, name| {
        let schedule = ScheduleConfig { scale_to_timesteps, ..ScheduleConfig::default() };
        let config = DiffusionConfig { num_timesteps: 100, schedule, ..Diffusion::tiny() };
        let (_vars, model) = build(&config, &data(), false);
        model.facts().into_iter().find(|fact| fact.name == name).unwrap().value
    };
    assert!((fact(false, "alphas_cumprod_last") - 0.363_563_248_055).abs() < 1e-9);
    assert!((fact(true, "alphas_cumprod_last") - 4.034_593e-5).abs() < 1e-10);
    // ½ (ᾱ (0.7² − 1) − ln(1 − ᾱ)) nats a dimension, 64 of them.
    let nats = 64.0 * 0.5 * (0.363_563_248_055 * (0.49 - 1.0) - 0.636_436_751_945f64.ln());
    assert!((fact(false, "prior_kl_nats") - nats).abs() < 1e-6);
    let bits = nats / 64.0 / std::f64::consts::LN_2;
    assert!((fact(false, "prior_kl_bits_per_dim") - bits).abs() < 1e-9);
    assert!(fact(true, "prior_kl_bits_per_dim") < 1e-4);
}

#[test]
fn the_bound_is_finite_repeatable_and_counts_its_passes() {
    let _lock = lock();
    for objective in OBJECTIVES {
        let config = DiffusionConfig { objective, ..Diffusion::tiny() };
        let (_vars, model) = build(&config, &data(), true);
        let likelihood = model.likelihood().unwrap();
        let methods = likelihood.methods();
        let continuous = methods[0].name == "variational-bound-continuous";
        assert_eq!(continuous, !objective.is_discrete());
        let method = &methods[0];
        let (batch, noise) = (batch(3), Noise::new(vec![1, 2, 3], Device::Cpu));
        let mut calls = 0;
        let nats = likelihood.nats(method, &batch, &noise, &mut |progress: Progress| {
            calls += 1;
            assert_eq!((progress.call, progress.calls), (calls, method.passes));
            ControlFlow::Continue(())
        });
        let nats = nats.unwrap();
        assert_eq!((nats.size(), nats.kind(), calls), (vec![3], Kind::Double, method.passes));
        assert!(nats.min().double_value(&[]) > 0.0 && nats.isfinite().all().int64_value(&[]) == 1);
        let one = likelihood.nats(method, &batch.narrow(1, 1), &noise.narrow(1, 1), &mut watch);
        assert!(one.unwrap().allclose(&nats.narrow(0, 1, 1), 1e-4, 1e-4, false));
        let mut stop = |_: Progress| ControlFlow::Break(());
        assert!(matches!(likelihood.nats(method, &batch, &noise, &mut stop), Err(Error::Stopped)));
    }
}

/// Over all images of one pixel, of a network that was trained on some of them.
#[test]
fn bounds_sum_to_one_at_most() {
    let _lock = lock();
    let data = spec(1, 1, 1);
    let network =
        UNetConfig { patch: 1, widths: vec![16], num_blocks: 1, num_heads: 0, embedding_dim: 16 };
    let of_levels = |levels: &[i64], class: i64| Batch {
        images: from_levels(&Tensor::from_slice(levels)).view([-1, 1, 1, 1]),
        conditions: Conditions::of_classes(&vec![class; levels.len()], &data, Device::Cpu),
    };
    let config = DiffusionConfig { bound_draws: 40, network, ..Diffusion::tiny() };
    let (vars, model) = build(&config, &data, false);
    let mut optimizer = nn::AdamW::default().build(&vars, 5e-3).unwrap();
    let levels: Vec<i64> = (0..64).flat_map(|i| [60 + i % 20, 150 + i]).collect();
    let batch = of_levels(&levels, 1);
    for _ in 0..150 {
        let loss = model.loss(&model.phases()[0], &batch, &STEP).unwrap();
        optimizer.backward_step(&loss.total);
    }
    let all = of_levels(&(0..256).collect::<Vec<_>>(), 1);
    let noise = Noise::new((0..256).collect(), Device::Cpu);
    let likelihood = model.likelihood().unwrap();
    // The bound of 50 steps alone loses most of it.
    for (method, least) in likelihood.methods()[..2].iter().zip([0.8, 0.05]) {
        let nats = |i| likelihood.nats(method, &all, &noise.fork(i), &mut watch).unwrap();
        let nats = Tensor::stack(&(0..6).map(nats).collect::<Vec<_>>(), 0); // [6, 256]
        let p = (-nats.mean_dim(0, false, Kind::Double)).exp();
        // Exponentiated, an uncertain mean is too high by half its variance.
        let bias = &p * nats.var_dim(0, true, false) / 12.0;
        let sum = (p - bias).sum(Kind::Double).double_value(&[]);
        assert!((least..1.02).contains(&sum), "{}: {sum}", method.name);
    }
}

#[test]
fn the_flow_s_likelihood_is_an_estimate_that_can_be_turned_off() {
    let _lock = lock();
    let with = |steps, draws| {
        let ode_likelihood = OdeLikelihoodConfig { steps, draws };
        build(&DiffusionConfig { ode_likelihood, ..Diffusion::tiny() }, &data(), true)
    };
    let (_vars, model) = with(3, 2);
    let likelihood = model.likelihood().unwrap();
    let method = likelihood.methods().swap_remove(2);
    assert_eq!(method.name, "probability-flow-rk4-3-steps-2-probes");
    assert_eq!((method.kind, method.draws, method.passes), (LikelihoodKind::Estimate, 2, 48));
    let (batch, noise) = (batch(3), Noise::new(vec![1, 2, 3], Device::Cpu));
    let mut calls = 0;
    // As scores are taken: without gradients.
    let measure = |batch: &Batch, noise: &Noise, on_step: &mut dyn OnStep| {
        tch::no_grad(|| likelihood.nats(&method, batch, noise, on_step))
    };
    let nats = measure(&batch, &noise, &mut |progress: Progress| {
        calls += 1;
        assert_eq!((progress.call, progress.calls), (calls, 24));
        assert!(!(progress.images)().requires_grad());
        ControlFlow::Continue(())
    });
    let nats = nats.unwrap();
    assert_eq!((nats.size(), nats.kind(), calls), (vec![3], Kind::Double, 24));
    assert!(!nats.requires_grad());
    let one = measure(&batch.narrow(1, 1), &noise.narrow(1, 1), &mut watch).unwrap();
    assert!(one.allclose(&nats.narrow(0, 1, 1), 1e-4, 1e-4, false));
    let other = measure(&batch, &noise.fork(9), &mut watch).unwrap();
    assert!(!other.allclose(&nats, 1e-6, 0.0, false), "nothing is drawn");
    assert_eq!(with(0, 1).1.likelihood().unwrap().methods().len(), 2);
}

#[test]
fn noising_goes_from_the_image_to_noise() {
    let _lock = lock();
    let (_vars, model) = build(&Diffusion::tiny(), &data(), false);
    let noising = model.noising().unwrap();
    let (images, noise) = (batch(4).images, Noise::new(vec![1, 2, 3, 4], Device::Cpu));
    let at = |time| noising.noised(&images, time, &noise).unwrap();
    assert!(at(0.0).allclose(&images, 1e-6, 1e-6, false));
    let other = Tensor::zeros_like(&images);
    let end = noising.noised(&other, 1.0, &noise).unwrap();
    assert!(at(1.0).allclose(&end, 0.02, 0.02, false), "the end still shows the image");
    let correlation = |time| {
        let (a, b) = (at(time) - at(time).mean(Kind::Float), &images - images.mean(Kind::Float));
        ((&a * &b).mean(Kind::Float) / (a.std(true) * b.std(true))).double_value(&[])
    };
    assert!(correlation(0.1) > 0.8 && correlation(0.1) > correlation(0.4));
    assert!(correlation(0.4) > correlation(1.0) && correlation(1.0).abs() < 0.2);
}

#[test]
fn default_configuration_suits_the_data_sets() {
    for (channels, side) in [(3, 16), (1, 28), (3, 32), (3, 64)] {
        Diffusion::validate(&DiffusionConfig::default(), &spec(channels, side, side)).unwrap();
        Diffusion::validate(&Diffusion::tiny(), &spec(channels, side, side)).unwrap();
    }
    assert_eq!(UNetConfig::default().widths, [64, 128]);
}
