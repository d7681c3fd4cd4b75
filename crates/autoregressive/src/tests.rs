mod likelihood;
mod sampling;

use crate::{Autoregressive, AutoregressiveConfig, model::PixelCnn};
use paragone_core::{
    Batch, Conditions, DataSpec, Error, Family, Generator, ImageShape, Noise, Progress,
    SampleRequest, StepContext, TextSpec, from_levels, to_levels,
};
use paragone_nn::pixel::PixelLikelihood;
use std::{
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tch::{
    Device, Kind, Tensor,
    nn::{Adam, OptimizerConfig, VarStore},
};
use torch_ext::Autocast;

/// libtorch's CPU generator is global and not thread-safe, so tests that draw from it take turns.
static LOCK: Mutex<()> = Mutex::new(());

const CPU: Device = Device::Cpu;

fn seeded(seed: i64) -> MutexGuard<'static, ()> {
    let lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    lock
}

fn spec(channels: i64, height: i64, width: i64) -> DataSpec {
    DataSpec {
        shape: ImageShape { channels, height, width },
        num_classes: 3,
        text: Some(TextSpec { vocab_size: 5, max_tokens: 2 }),
        known_pixels: false,
        mean: 0.0,
        std: 1.0,
    }
}

/// A model all of whose parameters are far from zero, so that nothing is equal because it is absent.
fn model(config: &AutoregressiveConfig, data: &DataSpec, kind: Kind) -> (VarStore, PixelCnn) {
    let mut vars = VarStore::new(CPU);
    config.validate().unwrap();
    let model = PixelCnn::new(config, data, vars.root()).unwrap();
    tch::no_grad(|| {
        for (name, mut var) in sorted(&vars) {
            let fan_in = var.size()[1..].iter().product::<i64>().max(1);
            let is_table = ["position", "condition"].iter().any(|part| name.contains(part));
            let std = if is_table { 1.0 } else { (0.6 / fan_in as f64).sqrt() };
            var.copy_(&(Tensor::randn(var.size(), (Kind::Float, CPU)) * std));
        }
    });
    if kind == Kind::Double {
        vars.double();
    }
    (vars, model)
}

fn sorted(vars: &VarStore) -> Vec<(String, Tensor)> {
    let mut all: Vec<_> = vars.variables().into_iter().collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn conditions(data: &DataSpec, n: i64) -> Conditions {
    let classes: Vec<i64> = (0..n).map(|i| i % (data.num_classes + 1)).collect();
    Conditions::of_classes(&classes, data, CPU)
}

fn random_images(data: &DataSpec, n: i64) -> Tensor {
    from_levels(&Tensor::randint(256, data.shape.batch(n), (Kind::Int64, CPU)))
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn every_parameter_learns() {
    let _lock = seeded(8);
    for channels in [1, 3] {
        let data = spec(channels, 6, 6);
        let config = AutoregressiveConfig { dropout: 0.1, ..Autoregressive::tiny() };
        let (vars, model) = model(&config, &data, Kind::Float);
        let asked = Conditions {
            tokens: Tensor::from_slice(&[1i64, 2, 3, 0, 0, 0, 0, 0]).view([4, 2]),
            ..conditions(&data, 4)
        };
        let batch = Batch { images: random_images(&data, 4), conditions: asked };
        let step = StepContext { step: 0, images: 0, progress: 0.0 };
        model.loss(&model.phases()[0], &batch, &step).unwrap().total.backward();
        for (name, var) in sorted(&vars) {
            assert!(name.starts_with("net."));
            let grad = var.grad();
            assert!(grad.defined(), "{name} has no gradient");
            assert!(grad.abs().max().double_value(&[]) > 0.0, "{name} has a zero gradient");
        }
    }
}

/// Two classes that the first pixel cannot tell apart, each to be learnt by heart.
#[test]
fn tiny_learns_its_classes() {
    let _lock = seeded(9);
    for (channels, enough) in [(1, 0.1), (3, 1.0)] {
        let data = DataSpec { text: None, ..spec(channels, 8, 8) };
        let vars = VarStore::new(CPU);
        let model = Autoregressive::build(&Autoregressive::tiny(), &data, vars.root()).unwrap();
        let rows = Tensor::arange(8, (Kind::Int64, CPU)).view([8, 1]).expand([8, 8], false);
        let gray = (Tensor::stack(&[rows.copy(), rows.tr()], 0) * 30).unsqueeze(1);
        let colours: Vec<Tensor> = (0..channels).map(|c| &gray + 20 * c).collect();
        let images = from_levels(&Tensor::cat(&colours, 1));
        let batch = Batch { images, conditions: Conditions::of_classes(&[0, 1], &data, CPU) };
        let phase = &model.phases()[0];
        let mut optimizer = Adam::default().build(&vars, 0.0).unwrap();
        let step = StepContext { step: 0, images: 0, progress: 0.0 };
        let mut bits = f64::INFINITY;
        for update in 0..600 {
            optimizer.set_lr(phase.optimizer.lr_at(f64::from(update) / 600.0));
            let loss = model.loss(phase, &batch, &step).unwrap();
            optimizer.backward_step_clip_norm(&loss.total, 1.0);
            bits = loss.total.double_value(&[]) / 2f64.ln();
        }
        assert!(bits < enough, "{bits} bits/dim");
        // A mixture also draws the neighbours of the two levels it knows, after which it is at sea.
        if channels == 1 {
            let noise = Noise::new(vec![1, 2], CPU);
            let request = SampleRequest::new(&batch.conditions, &noise);
            let drawn = to_levels(&model.sample(&request, &mut go_on).unwrap());
            assert!(drawn.equal(&to_levels(&batch.images)));
        }
    }
}

/// A mixture's means lie between bf16's numbers; and the loss is finite and f32 whatever the head.
#[test]
fn trains_under_autocast() {
    let _lock = seeded(11);
    for channels in [1, 3] {
        let data = spec(channels, 6, 5);
        let (_vars, model) = model(&Autoregressive::tiny(), &data, Kind::Float);
        let batch = Batch { images: random_images(&data, 2), conditions: conditions(&data, 2) };
        let step = StepContext { step: 0, images: 0, progress: 0.0 };
        let exact = model.loss(&model.phases()[0], &batch, &step).unwrap().total;
        let _autocast = Autocast::enter(CPU, Some(Kind::BFloat16)).unwrap();
        let loss = model.loss(&model.phases()[0], &batch, &step).unwrap().total;
        assert_eq!(loss.kind(), Kind::Float);
        let [exact, loss] = [exact, loss].map(|t| t.double_value(&[]));
        assert!((loss / exact - 1.0).abs() < 0.02, "{exact} in f32, {loss} in bf16");
        let params = model.network.forward(&batch.images, &batch.conditions, true);
        let rounded = params.to_kind(Kind::BFloat16).to_kind(Kind::Float);
        assert_eq!(rounded.equal(&params), channels == 1);
    }
}

#[test]
fn bad_values_are_named() {
    let gray = spec(1, 8, 8);
    let check = |edit: &dyn Fn(&mut AutoregressiveConfig), data: &DataSpec, want: &str| {
        let mut config = AutoregressiveConfig::default();
        edit(&mut config);
        assert_eq!(Autoregressive::validate(&config, data).unwrap_err().to_string(), want);
    };
    check(&|c| c.num_channels = 0, &gray, "num_channels is 0, but must be at least 1");
    check(&|c| c.num_layers = 0, &gray, "num_layers is 0, but must be at least 1");
    check(&|c| c.head_channels = -1, &gray, "head_channels is -1, but must be at least 1");
    check(&|c| c.kernel_rows = 0, &gray, "kernel_rows is 0, but must be at least 1");
    check(&|c| c.kernel_columns = 4, &gray, "kernel_columns is 4, but must be odd");
    check(&|c| c.dilations = vec![], &gray, "dilations is [], but must be numbers of at least 1");
    check(
        &|c| c.dilations = vec![1, 0],
        &gray,
        "dilations is [1, 0], but must be numbers of at least 1",
    );
    check(&|c| c.first_kernel = 1, &gray, "first_kernel is 1, but must be odd and at least 3");
    check(
        &|c| c.num_frequencies = 8,
        &gray,
        "num_frequencies is 8, but must be in 0..=7: faster waves alias on 256 levels",
    );
    check(&|c| c.dropout = 1.0, &gray, "dropout is 1, but must be in [0, 1)");
    for data in [gray, spec(3, 9, 5)] {
        Autoregressive::validate(&AutoregressiveConfig::default(), &data).unwrap();
        Autoregressive::validate(&Autoregressive::tiny(), &data).unwrap();
    }
}
