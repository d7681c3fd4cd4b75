use crate::{
    Autoregressive, AutoregressiveConfig,
    model::PixelCnn,
    network::Network,
    sampler::{draw_pixel, is_guided},
};
use paragone_core::{
    Batch, Conditions, DataSpec, Error, Family, Generator, ImageShape, Likelihood, Noise, Progress,
    SampleRequest, StepContext, TextSpec, from_levels, to_levels,
};
use paragone_nn::pixel::PixelLikelihood;
use std::{
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tch::{Device, Kind, Tensor, nn::VarStore};

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
    config.validate(data).unwrap();
    let model = PixelCnn::new(config, data, vars.root()).unwrap();
    tch::no_grad(|| {
        for (name, mut var) in sorted(&vars) {
            let fan_in = var.size()[1..].iter().product::<i64>().max(1);
            let is_table = ["position", "condition"].iter().any(|part| name.contains(part));
            let std = if is_table { 1.0 } else { (1.5 / fan_in as f64).sqrt() };
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

/// Runs the whole network for every pixel. `see` gets the parameters of each pixel's distribution, `[p, m]`.
fn sample_naively(
    network: &Network,
    data: &DataSpec,
    request: &SampleRequest,
    mut see: impl FnMut(Tensor),
) -> Tensor {
    tch::no_grad(|| {
        let image = Tensor::zeros(data.shape.batch(request.noise.len()), (Kind::Float, CPU));
        let unprompted = request.conditions.unprompted(data);
        for i in 0..data.shape.height {
            for j in 0..data.shape.width {
                let mut params = network.forward(&image, request.conditions, false);
                if is_guided(request) {
                    let other = network.forward(&image, &unprompted, false);
                    params = Tensor::cat(&[params, other], 0);
                }
                let here = params.select(2, i).select(2, j).tr();
                let draw = (i * data.shape.width + j) as u64;
                let levels = draw_pixel(network, request, &here, draw);
                image.select(2, i).select(2, j).copy_(&from_levels(&levels));
                see(here);
            }
        }
        image
    })
}

/// The images and the parameters of every pixel, from the cached and from the naive sampler.
fn both_ways(model: &PixelCnn, request: &SampleRequest) -> [(Tensor, Vec<Tensor>); 2] {
    let (network, data) = (&model.network, &model.data);
    let mut cached = Vec::new();
    let image = crate::sampler::sample_and_see(network, data, request, &mut go_on, &mut |p| {
        cached.push(p.copy());
    })
    .unwrap();
    let mut naive = Vec::new();
    let other = sample_naively(network, data, request, |p| naive.push(p));
    [(image, cached), (other, naive)]
}

fn largest_difference(a: &[Tensor], b: &[Tensor]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs().max().double_value(&[])).fold(0.0, f64::max)
}

/// Gray and colour, odd and degenerate sizes, several kernels, with and without guidance and temperature.
#[test]
fn cached_sampling_is_naive_sampling() {
    let _lock = seeded(1);
    let tiny = Autoregressive::tiny();
    let big_kernels = AutoregressiveConfig {
        num_channels: 8,
        num_layers: 3,
        first_kernel: 7,
        kernel_rows: 3,
        kernel_columns: 5,
        likelihood: PixelLikelihood::LogisticMixture,
        ..tiny.clone()
    };
    let pointwise = AutoregressiveConfig { kernel_rows: 1, kernel_columns: 1, ..tiny.clone() };
    let one_layer = AutoregressiveConfig { num_layers: 1, first_kernel: 3, ..tiny.clone() };
    let cases = [
        (&tiny, spec(1, 7, 5), 1.0, 1.0),
        (&tiny, spec(3, 5, 6), 1.0, 0.8),
        (&tiny, spec(1, 5, 7), 2.5, 0.9),
        (&tiny, spec(3, 4, 5), 1.7, 1.0),
        (&big_kernels, spec(1, 6, 9), 1.0, 1.0),
        (&big_kernels, spec(3, 3, 3), 1.0, 1.0),
        (&pointwise, spec(1, 4, 4), 1.0, 1.0),
        (&one_layer, spec(1, 1, 6), 1.0, 1.0),
        (&one_layer, spec(1, 6, 1), 1.0, 1.0),
    ];
    for (config, data, guidance_scale, temperature) in cases {
        let conditions = conditions(&data, 5);
        let noise = Noise::new((10..15).collect(), CPU);
        let request = SampleRequest {
            guidance_scale,
            temperature,
            ..SampleRequest::new(&conditions, &noise)
        };
        let (_vars, exact) = model(config, &data, Kind::Double);
        let [(image, cached), (other, naive)] = both_ways(&exact, &request);
        assert!(image.equal(&other), "{config:?} {data:?}");
        assert_eq!(image.kind(), Kind::Float);
        let difference = largest_difference(&cached, &naive);
        assert!(difference < 1e-10, "{difference} in f64, {config:?} {data:?}");
        // Images differ, and use many levels, so that this was no comparison of blanks.
        let (unique, ..) = to_levels(&image).unique_dim(0, true, false, false);
        assert_eq!(unique.size()[0], 5);

        let (_vars, single) = model(config, &data, Kind::Float);
        let [(image, cached), (other, naive)] = both_ways(&single, &request);
        // Up to the first pixel that rounding made different, if any, the same picture came before.
        let same = image.eq_tensor(&other).all_dim(0, false).all_dim(0, false).flatten(0, -1);
        let same = Vec::<bool>::try_from(same).unwrap();
        let until = (same.iter().position(|same| !same).unwrap_or(same.len() - 1)) + 1;
        assert!(2 * until > same.len(), "f32 parts at pixel {until} of {}", same.len());
        let difference = largest_difference(&cached[..until], &naive[..until]);
        assert!(difference < 1e-4, "{difference} in f32, {config:?} {data:?}");
    }
}

#[test]
fn an_image_depends_on_its_seed_and_condition_alone() {
    let _lock = seeded(2);
    let data = spec(1, 5, 5);
    let (_vars, model) = model(&Autoregressive::tiny(), &data, Kind::Double);
    let conditions = conditions(&data, 4);
    let draw = |seeds: Vec<u64>, start: i64| {
        let noise = Noise::new(seeds, CPU);
        let conditions = conditions.narrow(start, noise.len());
        model.sample(&SampleRequest::new(&conditions, &noise), &mut go_on).unwrap()
    };
    let all = draw(vec![5, 6, 7, 8], 0);
    assert!(all.narrow(0, 2, 1).equal(&draw(vec![7], 2)));
    assert!(!all.narrow(0, 2, 1).equal(&draw(vec![7], 3)));
    assert!(!all.narrow(0, 2, 1).equal(&draw(vec![9], 2)));
}

#[test]
fn reports_each_pixel_and_stops() {
    let _lock = seeded(3);
    let data = spec(1, 3, 4);
    let (_vars, model) = model(&Autoregressive::tiny(), &data, Kind::Float);
    let conditions = conditions(&data, 2);
    let noise = Noise::new(vec![1, 2], CPU);
    let request = SampleRequest::new(&conditions, &noise);
    let mut seen = Vec::new();
    let image = model.sample(&request, &mut |p: Progress| {
        seen.push((p.call, p.calls, (p.images)()));
        ControlFlow::Continue(())
    });
    let image = image.unwrap().flatten(2, 3);
    assert_eq!(seen.len(), 12);
    for (i, (call, calls, so_far)) in seen.iter().enumerate() {
        assert_eq!((*call, *calls), (i as u64 + 1, 12));
        let (so_far, done) = (so_far.flatten(2, 3), i as i64 + 1);
        assert!(so_far.narrow(2, 0, done).equal(&image.narrow(2, 0, done)));
        let rest = so_far.narrow(2, done, 12 - done);
        assert!(rest.equal(&rest.zeros_like()));
    }
    let mut calls = 0;
    let stopped = model.sample(&request, &mut |_: Progress| {
        calls += 1;
        if calls == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(Error::Stopped)) && calls == 5);
}

/// A pixel's distribution depends on every pixel within reach before it in raster order, and on none from itself on.
#[test]
fn strictly_causal() {
    let _lock = seeded(4);
    for (channels, height, width) in [(1, 5, 6), (3, 4, 5)] {
        let data = spec(channels, height, width);
        let config = AutoregressiveConfig { num_layers: 3, ..Autoregressive::tiny() };
        let (_vars, model) = model(&config, &data, Kind::Double);
        let asked = conditions(&data, 1);
        let image = random_images(&data, 1);
        let before = model.network.forward(&image, &asked, false);
        for pixel in 0..height * width {
            for channel in 0..channels {
                let changed = image.copy();
                let mut value = changed.get(0).get(channel).get(pixel / width).get(pixel % width);
                let level = to_levels(&value);
                value.copy_(&from_levels(&level.bitwise_xor(0xff_i64)));
                let after = model.network.forward(&changed, &asked, false);
                let moved = (&after - &before).abs().amax([0i64, 1].as_slice(), false);
                let moved = Vec::<f64>::try_from(moved.flatten(0, -1)).unwrap();
                for (other, moved) in moved.into_iter().enumerate() {
                    let other = other as i64;
                    if other <= pixel {
                        assert_eq!(moved, 0.0, "pixel {other} sees {pixel}");
                    }
                    let rows = other / width - pixel / width;
                    let columns = (other % width - pixel % width).abs();
                    // No blind spot: all that is above within two rows and columns is seen.
                    if other > pixel && rows <= 2 && columns <= 2 {
                        assert!(moved > 1e-9, "pixel {other} does not see {pixel}: {moved}");
                    }
                }
            }
        }
    }
}

/// In colour, later channels depend on earlier ones and not the reverse: see the pixel distribution's own tests. Here:
/// blue of a pixel does not change the probability of its red and green.
#[test]
fn likelihood_is_the_sum_over_pixels() {
    let _lock = seeded(5);
    for channels in [1, 3] {
        let data = spec(channels, 4, 3);
        let (_vars, model) = model(&Autoregressive::tiny(), &data, Kind::Double);
        let batch = Batch { images: random_images(&data, 3), conditions: conditions(&data, 3) };
        let noise = Noise::new(vec![0; 3], CPU);
        let methods = model.methods();
        assert_eq!(methods.len(), 1);
        let nats = model.nats(&methods[0], &batch, &noise, &mut go_on).unwrap();
        assert_eq!((nats.kind(), nats.size()), (Kind::Double, vec![3]));
        // One pixel at a time, each from an image that is blank from that pixel on.
        let levels = to_levels(&batch.images);
        let mut total = Tensor::zeros([3], (Kind::Double, CPU));
        for (i, j) in (0..4).flat_map(|i| (0..3).map(move |j| (i, j))) {
            let raster = Tensor::arange(12, (Kind::Int64, CPU)).view([1, 1, 4, 3]);
            let so_far = &batch.images * raster.lt(i * 3 + j).to_kind(Kind::Float);
            let params = model.network.forward(&so_far, &batch.conditions, false);
            let log_probs = model.network.pixel.log_prob(&params, &levels);
            total -= log_probs.select(1, i).select(1, j);
        }
        assert!(nats.allclose(&total, 1e-12, 1e-12, false));
        // The training loss is the same figure, in nats per dimension.
        let step = StepContext { step: 0, images: 0, progress: 0.0 };
        let loss = model.loss(&model.phases()[0], &batch, &step).unwrap();
        let per_dim = nats.mean(Kind::Double).double_value(&[]) / (12 * channels) as f64;
        assert!((loss.total.double_value(&[]) - per_dim).abs() < 1e-5);
        let bits = &loss.scalars.iter().find(|(name, _)| *name == "bits_per_dim").unwrap().1;
        assert!((bits.double_value(&[]) - per_dim / 2f64.ln()).abs() < 1e-5);
    }
}

/// All 65,536 gray images of two pixels.
#[test]
fn likelihood_sums_to_one() {
    let _lock = seeded(6);
    for likelihood in [PixelLikelihood::Softmax256, PixelLikelihood::LogisticMixture] {
        let config = AutoregressiveConfig {
            likelihood,
            num_channels: 4,
            num_layers: 1,
            head_channels: 8,
            ..Autoregressive::tiny()
        };
        for (height, width) in [(1, 2), (2, 1)] {
            let data = spec(1, height, width);
            let (_vars, model) = model(&config, &data, Kind::Float);
            let second = Tensor::arange(256, (Kind::Int64, CPU));
            let noise = Noise::new(vec![0; 256], CPU);
            let conditions = Conditions::of_classes(&[1; 256], &data, CPU);
            let mut total = 0.0;
            for first in 0..256 {
                let levels = Tensor::stack(&[second.full_like(first), second.copy()], 1);
                let images = from_levels(&levels.view([256, 1, height, width]));
                let batch = Batch { images, conditions: conditions.narrow(0, 256) };
                let method = &model.methods()[0];
                let nats = model.nats(method, &batch, &noise, &mut go_on).unwrap();
                total += (-nats).exp().sum(Kind::Double).double_value(&[]);
            }
            assert!((total - 1.0).abs() < 1e-5, "{likelihood:?}: {total}");
        }
    }
}

/// A network of one channel and one layer, worked out by hand on an image of two pixels in a column.
#[test]
fn one_layer_is_its_formula() {
    let _lock = seeded(7);
    let config = AutoregressiveConfig {
        num_channels: 1,
        num_layers: 1,
        first_kernel: 3,
        kernel_rows: 1,
        kernel_columns: 1,
        head_channels: 1,
        ..AutoregressiveConfig::default()
    };
    let data = DataSpec { text: None, ..spec(1, 1, 2) };
    let (vars, model) = model(&config, &data, Kind::Double);
    let all = vars.variables();
    let at = |name: &str, index: &[i64]| all[&format!("net.{name}")].double_value(index);
    let batch = Batch {
        images: from_levels(&Tensor::from_slice(&[200i64, 17]).view([1, 1, 1, 2])),
        conditions: Conditions::of_classes(&[2], &data, CPU),
    };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let gate = |g: [f64; 2]| g[0].tanh() * sigmoid(g[1]);
    let class = at("condition.class", &[2, 0]);
    let bias = |k: i64| at("gates.weight", &[k, 0]) * class + at("gates.bias", &[k]);
    let mut want = Vec::new();
    for j in 0..2 {
        // Nothing lies above; left of the second pixel lies the first, of level 200.
        let v = at("first_vertical.bias", &[0]) + at("position", &[0, 0, 0, j]);
        let seen = if j == 0 { [0.0, 0.0] } else { [200.0 / 127.5 - 1.0, 1.0] };
        let left: f64 =
            (0..2).map(|f| at("first_horizontal.weight", &[0, f, 0, 0]) * seen[f as usize]).sum();
        let across = at("first_across.weight", &[0, 0, 0, 0]) * v + at("first_across.bias", &[0]);
        let h = left + across + at("position", &[1, 0, 0, j]);
        let v_gates = [0, 1].map(|k| {
            at("layers.0.vertical.weight", &[k, 0, 0, 0]) * v
                + at("layers.0.vertical.bias", &[k])
                + bias(k)
        });
        let h_gates = [0, 1].map(|k| {
            at("layers.0.horizontal.weight", &[k, 0, 0, 0]) * h
                + at("layers.0.across.weight", &[k, 0, 0, 0]) * v_gates[0]
                + at("layers.0.across.weight", &[k, 1, 0, 0]) * v_gates[1]
                + at("layers.0.across.bias", &[k])
                + bias(2 + k)
        });
        let h = h + at("layers.0.horizontal_out.weight", &[0, 0, 0, 0]) * gate(h_gates);
        let hidden = at("head_in.weight", &[0, 0, 0, 0]) * h.max(0.0) + at("head_in.bias", &[0]);
        for level in 0..256 {
            let weight = at("head_out.weight", &[level, 0, 0, 0]);
            want.push(weight * hidden.max(0.0) + at("head_out.bias", &[level]));
        }
    }
    let got = model.network.forward(&batch.images, &batch.conditions, false); // [1, 256, 1, 2]
    let want = Tensor::from_slice(&want).view([2, 256]).tr();
    // Pixels are f32 on their way in.
    assert!(got.view([256, 2]).allclose(&want, 1e-6, 1e-6, false));
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

/// Two gray classes that the first pixel cannot tell apart, each to be learnt by heart.
#[test]
fn tiny_learns_its_classes() {
    let _lock = seeded(9);
    let data = DataSpec { text: None, ..spec(1, 8, 8) };
    let vars = VarStore::new(CPU);
    let model = Autoregressive::build(&Autoregressive::tiny(), &data, vars.root()).unwrap();
    let rows = Tensor::arange(8, (Kind::Int64, CPU)).view([8, 1]).expand([8, 8], false);
    let patterns = Tensor::stack(&[rows.copy(), rows.tr() + 100], 0) * 7;
    let images = from_levels(&patterns.clamp_max(255).unsqueeze(1));
    let batch = Batch { images, conditions: Conditions::of_classes(&[0, 1], &data, CPU) };
    let phase = &model.phases()[0];
    let mut optimizer = torch_adam(&vars, 5e-3);
    let step = StepContext { step: 0, images: 0, progress: 0.0 };
    let mut bits = f64::INFINITY;
    for _ in 0..400 {
        let loss = model.loss(phase, &batch, &step).unwrap();
        optimizer.backward_step(&loss.total);
        bits = loss.total.double_value(&[]) / 2f64.ln();
    }
    assert!(bits < 0.1, "{bits} bits/dim");
    let noise = Noise::new(vec![1, 2], CPU);
    let request =
        SampleRequest { temperature: 0.5, ..SampleRequest::new(&batch.conditions, &noise) };
    let drawn = model.sample(&request, &mut go_on).unwrap();
    let wrong = to_levels(&drawn).not_equal_tensor(&to_levels(&batch.images));
    assert!(wrong.sum(Kind::Int64).int64_value(&[]) <= 4);
}

fn torch_adam(vars: &VarStore, lr: f64) -> tch::nn::Optimizer {
    use tch::nn::OptimizerConfig;
    tch::nn::Adam::default().build(vars, lr).unwrap()
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
    check(&|c| c.first_kernel = 1, &gray, "first_kernel is 1, but must be odd and at least 3");
    check(&|c| c.dropout = 1.0, &gray, "dropout is 1, but must be in [0, 1)");
    check(
        &|c| c.likelihood = PixelLikelihood::Softmax256,
        &spec(3, 8, 8),
        "likelihood is softmax-256, but must be logistic-mixture for images of 3 channels",
    );
    for data in [gray, spec(3, 9, 5)] {
        Autoregressive::validate(&AutoregressiveConfig::default(), &data).unwrap();
        Autoregressive::validate(&Autoregressive::tiny(), &data).unwrap();
    }
}
