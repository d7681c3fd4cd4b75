use super::*;
use paragone_core::{Noise, from_levels};
use tch::{Device, IndexOp};

const CPU: Device = Device::Cpu;

fn mixture(channels: i64, mixtures: i64) -> PixelHead {
    PixelHead { channels, form: Form::Mixture { mixtures } }
}

fn softmax() -> PixelHead {
    PixelHead { channels: 1, form: Form::Softmax { couplings: None } }
}

/// A softmax in colour whose channels depend on each other.
fn coupled_softmax(channels: i64, amplitude: f64) -> PixelHead {
    let shape = [num_couplings(channels), NUM_LEVELS, NUM_LEVELS];
    let i = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, CPU));
    let couplings = Some((i * 2.3).sin().view(shape) * amplitude);
    PixelHead { channels, form: Form::Softmax { couplings } }
}

/// `amplitude * sin(1.7 i)` as the parameters of one pixel, f64 `[1, p, 1, 1]`.
fn sine(head: &PixelHead, amplitude: f64) -> Tensor {
    let i = Tensor::arange(head.num_parameters(), (Kind::Double, CPU));
    ((i * 1.7).sin() * amplitude).view([1, -1, 1, 1])
}

/// One pixel's levels side by side as an image of one row, `[1, c, 1, number of pixels]`.
fn row(pixels: &[&[i64]]) -> Tensor {
    let pixels: Vec<Tensor> = pixels.iter().map(|p| Tensor::from_slice(p)).collect();
    Tensor::stack(&pixels, 1).unsqueeze(0).unsqueeze(2)
}

/// Log-probabilities of pixels that share their parameters.
fn log_probs(head: &PixelHead, params: &Tensor, levels: &Tensor) -> Tensor {
    let [_, _, h, w] = levels.size()[..] else { unreachable!() };
    head.log_prob(&params.expand([1, head.num_parameters(), h, w], false), levels)
}

fn total(log_probs: &Tensor) -> f64 {
    log_probs.to_kind(Kind::Double).exp().sum(Kind::Double).double_value(&[])
}

fn assert_close(got: &Tensor, want: &[f64], tolerance: f64) {
    let got = Vec::<f64>::try_from(got.flatten(0, -1).to_kind(Kind::Double)).unwrap();
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= tolerance * want.abs().max(1.0), "{got} for {want}");
    }
}

#[test]
fn auto_follows_the_channels() {
    let vars = tch::nn::VarStore::new(CPU);
    let head = |choice, channels| PixelHead::new(vars.root(), choice, channels);
    let auto = |channels| head(PixelLikelihood::Auto, channels);
    assert_eq!((auto(1).num_parameters(), auto(1).num_uniforms()), (256, 1));
    assert_eq!((auto(3).num_parameters(), auto(3).num_uniforms()), (100, 4));
    let gray = head(PixelLikelihood::LogisticMixture, 1);
    assert_eq!((gray.num_parameters(), gray.num_uniforms()), (30, 2));
    assert!(vars.is_empty());
    let colour = head(PixelLikelihood::Softmax256, 3);
    assert_eq!((colour.num_parameters(), colour.num_uniforms()), (768, 3));
    assert_eq!(vars.variables()["couplings"].size(), [3, 256, 256]);
}

/// Against the definition, for one pixel: the logits of blue are the network's, plus a row of the table of red, plus a row
/// of the table of green.
#[test]
fn later_channels_of_a_softmax_depend_on_earlier_ones() {
    let head = coupled_softmax(3, 2.0);
    let Form::Softmax { couplings: Some(tables) } = &head.form else { unreachable!() };
    let params = sine(&head, 3.0);
    let levels = [37, 200, 5];
    let logits = |channel: i64| params.view([3, 256]).get(channel);
    let row = |pair: i64, level: i64| tables.get(pair).get(level);
    let of_channels = [
        logits(0),
        logits(1) + row(0, levels[0]),
        logits(2) + row(1, levels[0]) + row(2, levels[1]),
    ];
    let want = of_channels
        .iter()
        .zip(levels)
        .map(|(logits, level)| logits.log_softmax(0, None::<Kind>).double_value(&[level]));
    let got = log_probs(&head, &params, &self::row(&[&levels]));
    assert_close(&got, &[want.sum()], 1e-12);
}

/// Golden values: the definition of each distribution, written as differences of logistic cumulative distributions and
/// evaluated to 60 digits with mpmath.
#[test]
fn log_probs_are_golden() {
    let levels = row(&[&[0], &[1], &[200], &[255]]);
    let params = sine(&softmax(), 3.0);
    let want = [-7.1271631930501, -4.1521687616927, -5.1762309725624, -7.2464902921099];
    assert_close(&log_probs(&softmax(), &params, &levels), &want, 1e-12);
    assert_close(&log_probs(&softmax(), &params.to_kind(Kind::Float), &levels), &want, 1e-6);

    let gray = row(&[&[0], &[1], &[128], &[255]]);
    let colour = row(&[&[0, 128, 255], &[37, 200, 5], &[255, 0, 254]]);
    // Amplitude 8 drives log-scales beyond both ends of their range, and means far beyond [-1, 1].
    let cases: [(i64, f64, &Tensor, &[f64]); 4] = [
        (1, 1.0, &gray, &[-1.4582384684482, -6.5407520734665, -5.905661171042, -1.6496659216503]),
        (1, 8.0, &gray, &[-0.15076807984863, -14.515294111823, -15.213231208821, -1.9669373389662]),
        (3, 1.0, &colour, &[-8.9567542629833, -19.313450122375, -9.4732494717285]),
        (3, 8.0, &colour, &[-15.377551883056, -31.237160342325, -21.948466295078]),
    ];
    for (channels, amplitude, levels, want) in cases {
        let head = mixture(channels, 10);
        let params = sine(&head, amplitude);
        assert_close(&log_probs(&head, &params, levels), want, 1e-12);
        assert_close(&log_probs(&head, &params.to_kind(Kind::Float), levels), want, 2e-5);
    }
}

#[test]
fn levels_sum_to_one() {
    let all = Tensor::arange(NUM_LEVELS, (Kind::Int64, CPU)).view([1, 1, 1, NUM_LEVELS]);
    for amplitude in [0.0, 1.0, 3.0, 8.0] {
        for head in [softmax(), mixture(1, 10)] {
            let params = sine(&head, amplitude);
            assert!((total(&log_probs(&head, &params, &all)) - 1.0).abs() < 1e-12);
            let sum = total(&log_probs(&head, &params.to_kind(Kind::Float), &all));
            assert!((sum - 1.0).abs() < 1e-5, "{sum} in f32");
        }
    }
}

#[test]
fn pairs_of_levels_sum_to_one() {
    let all = Tensor::arange(NUM_LEVELS, (Kind::Int64, CPU));
    let square = [NUM_LEVELS, NUM_LEVELS];
    let first = all.view([NUM_LEVELS, 1]).expand(square, false);
    let pairs = Tensor::stack(&[first.tr(), first], 0).unsqueeze(0);
    for head in [mixture(2, 3), coupled_softmax(2, 2.0)] {
        for amplitude in [1.0, 3.0] {
            let sum = total(&log_probs(&head, &sine(&head, amplitude), &pairs));
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        }
    }
}

/// Three channels: over all blues, the joint probability sums to that of red and green, which
/// [`pairs_of_levels_sum_to_one`] sums up; and likewise for what guidance computes channel by channel.
#[test]
fn three_channels_sum_to_one_by_the_chain() {
    let head = mixture(3, 10);
    let params = sine(&head, 2.0);
    let all = Tensor::arange(NUM_LEVELS, (Kind::Int64, CPU)).view([1, 1, 1, NUM_LEVELS]);
    for (red, green) in [(0, 255), (10, 130), (255, 0), (128, 127)] {
        let known = Tensor::from_slice(&[red, green]).view([1, 2, 1, 1]);
        let triples = Tensor::cat(&[&known.expand([1, 2, 1, NUM_LEVELS], false), &all], 1);
        let joint = log_probs(&head, &params, &triples);
        let red_of_green = Mixture::split(&params, 10, 3).first_channels(2);
        let x = normalized(&known, Kind::Double);
        let bins = red_of_green.bin_log_probs(&red_of_green.means_given(&x), &x, &known);
        let components = bins.sum_dim_intlist(2, false, None::<Kind>)
            + red_of_green.logits.log_softmax(1, None::<Kind>);
        let marginal = components.logsumexp(1, false).double_value(&[0, 0, 0]);
        assert!((total(&joint).ln() - marginal).abs() < 1e-12);
        // The chain: log p(red) + log p(green | red) + log p(blue | red, green) is the joint.
        let chained: Tensor = (0..3)
            .map(|channel| {
                let logits = head.level_logits(&params, &known.narrow(1, 0, channel), 1.0);
                let log_probs = logits.log_softmax(1, None::<Kind>).view([1, NUM_LEVELS]);
                let here = triples.select(1, channel).view([1, NUM_LEVELS]);
                log_probs.gather(1, &here, false)
            })
            .reduce(|a, b| a + b)
            .unwrap();
        assert!(chained.view([1, 1, NUM_LEVELS]).allclose(&joint, 1e-10, 1e-10, false));
    }
}

/// Draws `side²` pixels that share `params`, f32 levels `[1, c, side, side]`.
fn draw(head: &PixelHead, params: &Tensor, side: i64, temperature: f64) -> Tensor {
    let params = params.expand([1, head.num_parameters(), side, side], false);
    let uniforms = Noise::new(vec![7], CPU).uniform(0, &[head.num_uniforms(), side, side]);
    head.sample(&params, &uniforms, temperature)
}

/// Share of each level in one channel, f64 `[256]`.
fn shares(levels: &Tensor) -> Tensor {
    let counts = levels.flatten(0, -1).bincount(None::<Tensor>, NUM_LEVELS);
    counts.to_kind(Kind::Double) / levels.numel() as f64
}

/// Largest distance between shares and probabilities, in standard errors.
fn deviation(shares: &Tensor, probs: &Tensor, draws: i64) -> f64 {
    let error = ((probs - probs.square()) / draws as f64).sqrt().clamp_min(1.0 / draws as f64);
    ((shares - probs) / error).abs().max().double_value(&[])
}

#[test]
fn draws_come_as_often_as_they_are_likely() {
    let all = Tensor::arange(NUM_LEVELS, (Kind::Int64, CPU)).view([1, 1, 1, NUM_LEVELS]);
    for head in [softmax(), mixture(1, 10)] {
        let params = sine(&head, 2.0);
        let probs = log_probs(&head, &params, &all).exp().flatten(0, -1);
        let drawn = shares(&draw(&head, &params, 512, 1.0));
        // 256 levels: the largest of as many normal deviates exceeds 5 once in 7,000.
        assert!(deviation(&drawn, &probs, 512 * 512) < 5.0);
        // The same draws are no draws of another distribution.
        assert!(deviation(&drawn, &probs.flip([0]), 512 * 512) > 20.0);
    }
}

#[test]
fn colour_draws_come_as_often_as_they_are_likely() {
    // Few levels have most of the mass, so that pixels agree in red and green.
    for (head, amplitude) in [(mixture(3, 2), 1.5), (coupled_softmax(3, 2.0), 8.0)] {
        check_colour_draws(&head, amplitude);
    }
}

fn check_colour_draws(head: &PixelHead, amplitude: f64) {
    let params = sine(head, amplitude);
    let draws = draw(head, &params, 512, 1.0);
    // Every pixel's mass, on a coarse partition: is each channel in its lowest level, its highest, or between?
    let class = |t: &Tensor| t.gt(0).to_kind(Kind::Int64) + t.gt(254).to_kind(Kind::Int64);
    let cell = |t: &Tensor| {
        let t = class(t);
        t.select(1, 0) * 9 + t.select(1, 1) * 3 + t.select(1, 2)
    };
    let drawn = shares(&cell(&draws)).narrow(0, 0, 27);
    // Probabilities of the corners are exact; the other cells follow from marginals over one channel at a time.
    for corner in 0..8 {
        let levels: Vec<i64> = (0..3).map(|bit| 255 * (corner >> bit & 1)).collect();
        let index = levels.iter().fold(0, |i, &level| i * 3 + 2 * (level / 255));
        let p = log_probs(head, &params, &row(&[&levels])).exp().double_value(&[0, 0, 0]);
        let error = (p * (1.0 - p) / (512.0 * 512.0)).sqrt().max(1.0 / (512.0 * 512.0));
        let share = drawn.double_value(&[index]);
        assert!((share - p).abs() < 5.0 * error, "{levels:?}: {share} for {p}");
    }
    // Given red and green of one pixel, blue is distributed as the chain has it.
    let known = draws.narrow(1, 0, 2).narrow(2, 0, 1).narrow(3, 0, 1);
    let same = draws.narrow(1, 0, 2).eq_tensor(&known).all_dim(1, false);
    let blue = draws.select(1, 2).masked_select(&same);
    let probs = head.level_logits(&params, &known, 1.0).softmax(1, None::<Kind>).flatten(0, -1);
    assert!(blue.numel() > 100, "{} draws", blue.numel());
    assert!(deviation(&shares(&blue), &probs, blue.numel() as i64) < 6.0);
}

#[test]
fn f32_and_f64_draw_the_same() {
    for head in [softmax(), coupled_softmax(3, 2.0), mixture(1, 10), mixture(3, 10)] {
        let params = sine(&head, 2.0);
        let double = draw(&head, &params, 32, 1.0);
        let single = draw(&head, &params.to_kind(Kind::Float), 32, 1.0);
        let differ = double.not_equal_tensor(&single).sum(Kind::Int64).int64_value(&[]);
        assert!(differ <= 3, "{differ} of {}", double.numel());
    }
}

#[test]
fn extreme_uniforms_give_possible_levels() {
    // Levels 0, 1 and 255 have no mass at all.
    let mut logits = vec![0f32; 256];
    for level in [0, 1, 255] {
        logits[level] = f32::NEG_INFINITY;
    }
    let params = Tensor::from_slice(&logits).view([1, 256, 1, 1]).expand([1, 256, 1, 2], false);
    let uniforms = Tensor::from_slice(&[1e-7f32, 1.0 - 6e-8]).view([1, 1, 1, 2]);
    let drawn = softmax().sample(&params, &uniforms, 1.0);
    assert_eq!(Vec::<i64>::try_from(drawn.flatten(0, -1)).unwrap(), [2, 254]);
}

#[test]
fn temperature_divides_logits_and_multiplies_scales() {
    let params = sine(&softmax(), 1.0);
    assert!(draw(&softmax(), &params, 32, 0.5).equal(&draw(&softmax(), &(&params * 2.0), 32, 1.0)));

    // What couples channels is divided with them.
    let [once, twice] = [1.0, 2.0].map(|amplitude| coupled_softmax(3, amplitude));
    let params = sine(&once, 1.0);
    assert!(draw(&once, &params, 32, 0.5).equal(&draw(&twice, &(&params * 2.0), 32, 1.0)));

    // Two components, at -1/2 and 1/2, the first e times as likely, of scale exp(-4).
    let head = mixture(1, 2);
    let params = Tensor::from_slice(&[1.0, 0.0, -0.5, 0.5, -4.0, -4.0]).view([1, 6, 1, 1]);
    for temperature in [1.0, 0.5] {
        let x = from_levels(&draw(&head, &params, 256, temperature)).to_kind(Kind::Double);
        let first = x.masked_select(&x.lt(0.0));
        let share = first.numel() as f64 / x.numel() as f64;
        assert!((share - 1.0 / (1.0 + (-1.0 / temperature).exp())).abs() < 0.01, "{share}");
        let std = temperature * (-4f64).exp() * std::f64::consts::PI / 3f64.sqrt();
        assert!((first.std(true).double_value(&[]) / std - 1.0).abs() < 0.02);
    }
}

#[test]
fn guidance_one_is_none_and_more_sharpens() {
    const SIDE: i64 = 64;
    for head in [softmax(), coupled_softmax(3, 2.0), mixture(1, 10), mixture(3, 10)] {
        let shape = [1, head.num_parameters(), SIDE, SIDE];
        let params = sine(&head, 1.0).expand(shape, false);
        let unprompted = sine(&head, -1.0).expand(shape, false);
        let uniforms = Noise::new(vec![3], CPU).uniform(0, &[head.num_uniforms(), SIDE, SIDE]);
        let guided = |scale| head.sample_guided(&params, &unprompted, &uniforms, 1.0, scale);
        let plain = head.sample(&params, &uniforms, 1.0);
        for channel in 0..head.channels {
            let [a, b] = [guided(1.0), plain.shallow_clone()]
                .map(|t| shares(&t.select(1, channel)).cumsum(0, Kind::Double));
            // Kolmogorov and Smirnov: 1.95 √(2/n) is exceeded once in a thousand.
            let distance = (a - b).abs().max().double_value(&[]);
            assert!(distance < 1.95 * (2.0 / (SIDE * SIDE) as f64).sqrt(), "{distance}");
        }
        // Where the condition makes levels likelier, guidance draws them more often.
        let gain = |levels: &Tensor| {
            let gain = head.log_prob(&params, levels) - head.log_prob(&unprompted, levels);
            gain.mean(Kind::Double).double_value(&[])
        };
        let [more, none] = [guided(2.0), plain].map(|t| gain(&t));
        assert!(more > 1.2 * none, "{head:?}: {none} to {more}");
    }
    // The softmax is guided on its logits, here all within a tenth of the likeliest.
    let (params, unprompted) = (sine(&softmax(), 1.0), sine(&softmax(), 0.5).flip([1]));
    let mixed = &unprompted + (&params - &unprompted) * 1.7;
    let uniforms = Tensor::from_slice(&[0.37f32]).view([1, 1, 1, 1]);
    let guided = softmax().sample_guided(&params, &unprompted, &uniforms, 0.9, 1.7);
    assert!(guided.equal(&softmax().sample(&mixed, &uniforms, 0.9)));
}

#[test]
fn guided_draws_come_as_often_as_they_are_likely() {
    const SIDE: i64 = 128;
    for head in [softmax(), mixture(1, 10)] {
        let of = |amplitude, side: i64| {
            sine(&head, amplitude).expand([1, head.num_parameters(), side, side], false)
        };
        let uniforms = Noise::new(vec![3], CPU).uniform(0, &[head.num_uniforms(), SIDE, SIDE]);
        let drawn = head.sample_guided(&of(1.0, SIDE), &of(-1.0, SIDE), &uniforms, 0.8, 2.0);
        let levels = Tensor::arange(256, (Kind::Int64, CPU)).view([1, 1, 16, 16]);
        let probs = head
            .log_prob_guided(&of(1.0, 16), &of(-1.0, 16), &levels, 0.8, 2.0)
            .exp()
            .flatten(0, -1)
            .to_kind(Kind::Double);
        assert_close(&probs.sum(Kind::Double), &[1.0], 1e-5);
        let distance = (shares(&drawn) - probs).cumsum(0, Kind::Double).abs().max();
        // Kolmogorov and Smirnov: 1.95 / √n is exceeded once in a thousand.
        assert!(distance.double_value(&[]) < 1.95 / SIDE as f64, "{head:?}: {distance}");
    }
    // Scale 1 is the model's own, scale 0 the one without the condition, in colour too.
    for head in [coupled_softmax(3, 2.0), mixture(3, 10)] {
        let (params, unprompted) = (sine(&head, 3.0), sine(&head, -1.0));
        let levels = Tensor::from_slice(&[3i64, 200, 90]).view([1, 3, 1, 1]);
        for (scale, of) in [(1.0, &params), (0.0, &unprompted)] {
            let own = head.log_prob(of, &levels).double_value(&[0, 0, 0]);
            let guided = head.log_prob_guided(&params, &unprompted, &levels, 1.0, scale);
            assert_close(&guided, &[own], 1e-4);
        }
    }
}

#[test]
fn guidance_raises_no_level_that_the_condition_makes_unlikely() {
    // Level 7 is e^20 times as likely with the condition as without, and e^-10 times as likely as level 3 all the same.
    let logits = |seven: f64| {
        let logits = Tensor::full([1, 256, 64, 64], -50.0, (Kind::Double, CPU));
        let _ = logits.narrow(1, 3, 1).fill_(0.0);
        let _ = logits.narrow(1, 7, 1).fill_(seven);
        logits
    };
    let uniforms = Noise::new(vec![3], CPU).uniform(0, &[1, 64, 64]);
    let levels = softmax().sample_guided(&logits(-10.0), &logits(-30.0), &uniforms, 1.0, 3.0);
    // Expected of 4,096 draws: 0.2.
    assert!(levels.ne(3).sum(Kind::Int64).int64_value(&[]) <= 3);
}

#[test]
fn means_are_those_of_draws() {
    // Golden value as in `log_probs_are_golden`.
    assert_close(&softmax().mean(&sine(&softmax(), 3.0)), &[-0.0081765870643225], 1e-12);
    // Narrow logistics well inside [-1, 1], so that clamping at the ends does nothing.
    for channels in [1, 3] {
        let head = mixture(channels, 10);
        let sizes = [10, 10 * channels, 10 * channels, num_couplings(channels) * 10];
        let parts = sine(&head, 0.3).split_with_sizes(sizes, 1);
        let params = Tensor::cat(&[&parts[0], &parts[1], &(&parts[2] - 4.0), &parts[3]], 1);
        let drawn = from_levels(&draw(&head, &params, 512, 1.0)).to_kind(Kind::Double);
        let empirical = drawn.mean_dim(&[2i64, 3][..], true, Kind::Double);
        assert!((head.mean(&params) - empirical).abs().max().double_value(&[]) < 0.003);
    }
}

#[test]
fn the_mean_of_a_later_channel_is_that_given_the_earlier_means() {
    // Red is 200 for sure, and where red is 200, green is 17.
    let tables = Tensor::zeros([1, 256, 256], (Kind::Double, CPU));
    let _ = tables.get(0).get(200).get(17).fill_(1e3);
    let head = PixelHead { channels: 2, form: Form::Softmax { couplings: Some(tables) } };
    let params = Tensor::zeros([1, 512, 1, 1], (Kind::Double, CPU));
    let _ = params.select(1, 200).fill_(1e3);
    assert_close(&head.mean(&params), &[200.0 / 127.5 - 1.0, 17.0 / 127.5 - 1.0], 1e-12);
}

#[test]
fn gradients_are_finite_in_the_far_tails() {
    let head = mixture(3, 10);
    let params = (sine(&head, 60.0)).to_kind(Kind::Float).set_requires_grad(true);
    let levels = row(&[&[0, 128, 255], &[255, 255, 0], &[1, 254, 128]]);
    let loss = log_probs(&head, &params, &levels).sum(Kind::Float);
    assert!(loss.isfinite().int64_value(&[]) == 1);
    loss.backward();
    let grad = params.grad();
    assert!(
        grad.isfinite().all().int64_value(&[]) == 1 && grad.abs().max().double_value(&[]) > 0.0
    );
}

/// What training under autocast and sampling, which is without, ask of the same logits.
#[test]
fn logits_in_bf16_are_scored_in_f32() {
    let levels = row(&[&[0, 255, 7], &[90, 91, 92]]).repeat([4, 1, 5, 1]);
    for mut head in [softmax(), coupled_softmax(3, 2.0)] {
        if let Form::Softmax { couplings: Some(tables) } = &mut head.form {
            *tables = tables.to_kind(Kind::Float);
        }
        let levels = levels.narrow(1, 0, head.channels);
        let [n, _, h, w] = levels.size()[..] else { unreachable!() };
        let params = sine(&head, 3.0).expand([n, head.num_parameters(), h, w], false);
        let params = params.to_kind(Kind::BFloat16).set_requires_grad(true);
        let precise = params.detach().to_kind(Kind::Double).set_requires_grad(true);
        let (got, want) = (head.log_prob(&params, &levels), head.log_prob(&precise, &levels));
        assert_eq!(got.kind(), Kind::Float);
        assert!(got.allclose(&want.to_kind(Kind::Float), 1e-5, 1e-5, false));
        got.sum(Kind::Float).backward();
        want.sum(Kind::Double).backward();
        assert!(params.grad().to_kind(Kind::Double).allclose(&precise.grad(), 1e-2, 1e-5, false));
    }
}

/// On the CPU in f32 a mixture is computed in one pass: the same numbers and gradients, with narrow and wide components, levels at
/// both ends, scales beyond their range, and numbers of pixels that 16 does not divide.
#[test]
fn the_pass_over_a_mixture_is_its_formula() {
    let waves = |size: &[i64], frequency: f64| {
        let i = Tensor::arange(size.iter().product::<i64>(), (Kind::Double, CPU));
        (i * frequency).sin().reshape(size)
    };
    for channels in [1, 2, 3] {
        let head = mixture(channels, 10);
        let [n, h, w] = [3, 5, 9];
        let spread = (waves(&[n, 1, h, w], 1.1) * 3.0).exp();
        let params = waves(&[n, head.num_parameters(), h, w], 1.7) * spread;
        let levels = ((waves(&[n, channels, h, w], 2.3) + 1.0) * 127.5).to_kind(Kind::Int64);
        let levels = levels.where_self(&levels.ge(40), &(levels.remainder(2) * 255));
        let params = params.to_kind(Kind::Float).set_requires_grad(true);
        let precise = params.detach().to_kind(Kind::Double).set_requires_grad(true);
        let (got, want) = (head.log_prob(&params, &levels), head.log_prob(&precise, &levels));
        assert_eq!((got.kind(), got.size()), (Kind::Float, want.size()));
        assert!(got.to_kind(Kind::Double).allclose(&want, 1e-4, 1e-4, false));
        let weight = waves(&want.size(), 0.7);
        (got * &weight).sum(Kind::Double).backward();
        (want * &weight).sum(Kind::Double).backward();
        let (got, want) = (params.grad().to_kind(Kind::Double), precise.grad());
        let off = ((&got - &want).abs() / (want.abs() + 1.0)).max().double_value(&[]);
        assert!(off < 1e-3, "{channels} channels: gradients are off by {off}");
        let moved = want.ne(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!(moved > 0.5);
    }
    let head = mixture(1, 10);
    let params = Tensor::zeros([1, 30, 1, 2], (Kind::Float, CPU));
    let _ = params.i((0, 25, 0, 1)).fill_(f64::NAN);
    let log_probs = head.log_prob(&params, &Tensor::zeros([1, 1, 1, 2], (Kind::Int64, CPU)));
    assert!(log_probs.double_value(&[0, 0, 0]).is_finite());
    assert!(log_probs.double_value(&[0, 0, 1]).is_nan());
}
