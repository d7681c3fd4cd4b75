use super::*;
use crate::{
    Gate,
    sampler::{FeatureCache, Kept, PixelDraw, draw_images},
};

/// Runs the whole network for every pixel. `see` gets the parameters of each pixel's distribution, `[p, m]`.
fn sample_naively(
    model: &PixelCnn,
    request: &SampleRequest,
    mut see: impl FnMut(Tensor),
) -> Tensor {
    let (network, data) = (&model.network, &model.data);
    let pixel_draw = PixelDraw::new(network, request, None, 0, request.noise.len());
    tch::no_grad(|| {
        let image = Tensor::zeros(data.shape.batch(request.noise.len()), (Kind::Float, CPU));
        let unprompted = request.conditions.unprompted(data);
        for i in 0..data.shape.height {
            for j in 0..data.shape.width {
                let mut params = network.forward(&image, request.conditions, false);
                if request.guidance_scale != 1.0 {
                    let other = network.forward(&image, &unprompted, false);
                    params = Tensor::cat(&[params, other], 0);
                }
                let here = params.select(2, i).select(2, j).tr();
                let draw = (i * data.shape.width + j) as u64;
                let levels = pixel_draw.levels(&here, draw);
                image.select(2, i).select(2, j).copy_(&from_levels(&levels));
                see(here);
            }
        }
        image
    })
}

/// Runs the cached sampler on this thread, for the same.
fn sample_cached(model: &PixelCnn, request: &SampleRequest, mut see: impl FnMut(Tensor)) -> Tensor {
    let (network, data, n) = (&model.network, &model.data, request.noise.len());
    let cache = tch::no_grad(|| FeatureCache::new(network, data, request, 0, n));
    let draw = PixelDraw::new(network, request, None, 0, n);
    let mut pixels = Vec::new();
    draw_images(cache, &draw, data.shape, |params, values| {
        see(params.copy());
        pixels.push(values);
        ControlFlow::Continue(())
    });
    Tensor::stack(&pixels, 2).view(&data.shape.batch(n)[..])
}

/// The images and the parameters of every pixel, from the cached and from the naive sampler.
fn both_ways(model: &PixelCnn, request: &SampleRequest) -> [(Tensor, Vec<Tensor>); 2] {
    let mut cached = Vec::new();
    let image = sample_cached(model, request, |params| cached.push(params));
    let mut naive = Vec::new();
    let other = sample_naively(model, request, |params| naive.push(params));
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
        dilations: vec![1, 2],
        likelihood: PixelLikelihood::LogisticMixture,
        ..tiny.clone()
    };
    let paper = AutoregressiveConfig { gate: Gate::Tanh, ..tiny.clone() };
    let pointwise = AutoregressiveConfig { kernel_rows: 1, kernel_columns: 1, ..tiny.clone() };
    let one_layer = AutoregressiveConfig { num_layers: 1, first_kernel: 3, ..tiny.clone() };
    let flat_colours =
        AutoregressiveConfig { likelihood: PixelLikelihood::Softmax256, ..tiny.clone() };
    let cases = [
        (&flat_colours, spec(3, 4, 5), 1.0, 0.8),
        (&flat_colours, spec(3, 5, 3), 1.7, 1.0),
        (&tiny, spec(1, 7, 5), 1.0, 1.0),
        (&tiny, spec(3, 5, 6), 1.0, 0.8),
        (&tiny, spec(1, 5, 7), 2.5, 0.9),
        (&tiny, spec(3, 4, 5), 1.7, 1.0),
        (&big_kernels, spec(1, 6, 9), 1.0, 1.0),
        (&big_kernels, spec(3, 3, 3), 1.0, 1.0),
        (&paper, spec(1, 4, 6), 1.0, 1.0),
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
        let (vars, exact) = model(config, &data, Kind::Double);
        // They begin at zero, where channels would not depend on each other.
        let coupled = vars.variables().remove("net.pixel.couplings");
        assert_eq!(coupled.is_some(), std::ptr::eq(config, &flat_colours));
        if let Some(mut couplings) = coupled {
            let _ = tch::no_grad(|| couplings.normal_(0.0, 2.0));
        }
        let [(image, cached), (other, naive)] = both_ways(&exact, &request);
        assert!(image.equal(&other), "{config:?} {data:?}");
        assert!(image.equal(&exact.sample(&request, &mut go_on).unwrap()));
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

/// Enough images for two threads, of unequal numbers.
#[test]
fn threads_share_the_images() {
    let _lock = seeded(10);
    let before = tch::get_num_threads();
    tch::set_num_threads(2);
    let data = spec(1, 4, 4);
    for (n, guidance_scale) in [(37, 1.0), (33, 1.5)] {
        let (_vars, model) = model(&Autoregressive::tiny(), &data, Kind::Double);
        let conditions = conditions(&data, n);
        let noise = Noise::new((0..n as u64).collect(), CPU);
        let request = SampleRequest { guidance_scale, ..SampleRequest::new(&conditions, &noise) };
        let image = model.sample(&request, &mut go_on).unwrap();
        assert!(image.equal(&sample_cached(&model, &request, |_| ())));
        assert_eq!(tch::get_num_threads(), 2);
        let stopped = model.sample(&request, &mut |_: Progress| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(Error::Stopped)));
        assert_eq!(tch::get_num_threads(), 2);
    }
    tch::set_num_threads(before);
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

/// Of a pixel's distribution p, an edit draws p' ∝ p e^(bonus [x = source]).
#[test]
fn a_kept_pixel_has_its_odds() {
    let _turn = seeded(1);
    let config = AutoregressiveConfig {
        likelihood: PixelLikelihood::Softmax256,
        ..AutoregressiveConfig::tiny()
    };
    let (_vars, model) = model(&config, &spec(1, 8, 8), Kind::Float);
    let n = 20_000;
    let conditions = Conditions::none(n, &model.data, CPU);
    let noise = Noise::new((0..n as u64).collect(), CPU);
    let plain = SampleRequest::new(&conditions, &noise);
    let source = 77;
    let kept = Kept {
        levels: Tensor::full(model.data.shape.batch(n), source, (Kind::Int64, CPU)),
        certain: Tensor::zeros([n, 1, 8, 8], (Kind::Bool, CPU)),
        bonus: 5.0,
    };
    // Any distribution will do: levels 70 to 79, rising.
    let logits = |slope: f32| {
        let logits = Tensor::full([256], -50.0, (Kind::Float, CPU));
        let rising: Vec<f32> = (0..10).map(|i| i as f32 * slope).collect();
        logits.narrow(0, 70, 10).copy_(&Tensor::from_slice(&rising));
        logits
    };
    let share = |request: &SampleRequest, params: &Tensor, kept: Option<&Kept>, level: i64| {
        let draw = PixelDraw::new(&model.network, request, kept, 0, n);
        let drawn = draw.levels(params, 9);
        drawn.eq(level).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
    };
    // Guided, tempered and neither, by logits that all come to a slope of 0.2: (0.12 + (0.18 − 0.12) · 2) / 1.2.
    let of = |slope| logits(slope).unsqueeze(1).repeat([1, n]);
    let guided = SampleRequest { guidance_scale: 2.0, temperature: 1.2, ..plain };
    let tempered = SampleRequest { temperature: 2.0, ..plain };
    for (request, params) in
        [(plain, of(0.2)), (tempered, of(0.4)), (guided, Tensor::cat(&[of(0.18), of(0.12)], 1))]
    {
        let p = Vec::<f64>::try_from(logits(0.2).softmax(0, Kind::Double)).unwrap();
        let worth = 5f64.exp();
        let total = 1.0 + p[77] * (worth - 1.0);
        // Standard errors are below .0036.
        for level in [70, 77, 79] {
            let weight = if level == source { worth } else { 1.0 };
            let free = share(&request, &params, None, level);
            assert!((free - p[level as usize]).abs() < 0.012, "{level}: {free}");
            let want = p[level as usize] * weight / total;
            let got = share(&request, &params, Some(&kept), level);
            assert!((got - want).abs() < 0.012, "{level}: {got}, not {want}");
        }
    }
    let certain = kept.certain.logical_not();
    let kept = Kept { certain, bonus: 0.0, ..kept };
    assert_eq!(share(&plain, &of(0.2), Some(&kept), source), 1.0);
}
