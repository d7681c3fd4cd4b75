use super::*;
use crate::Gate;
use paragone_core::Likelihood;
use std::f64::consts::PI;

/// A pixel's distribution depends on every pixel within reach before it in raster order, and on none from itself on.
#[test]
fn strictly_causal() {
    let _lock = seeded(4);
    for (channels, height, width) in [(1, 5, 6), (3, 4, 5)] {
        let data = spec(channels, height, width);
        let config =
            AutoregressiveConfig { num_layers: 3, dilations: vec![1, 2], ..Autoregressive::tiny() };
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

/// The one pass over a whole image gives every pixel the probability that it has when nothing from it on is known.
#[test]
fn likelihood_is_the_sum_over_pixels() {
    let _lock = seeded(5);
    let flat_colours =
        AutoregressiveConfig { likelihood: PixelLikelihood::Softmax256, ..Autoregressive::tiny() };
    let tiny = Autoregressive::tiny();
    for (config, channels) in [(&tiny, 1), (&tiny, 3), (&flat_colours, 3)] {
        let data = spec(channels, 4, 3);
        let (_vars, model) = model(config, &data, Kind::Double);
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

/// Where all logits are equal, so are all levels.
#[test]
fn knowing_nothing_costs_eight_bits() {
    let _lock = seeded(8);
    let config =
        AutoregressiveConfig { likelihood: PixelLikelihood::Softmax256, ..Autoregressive::tiny() };
    for channels in [1, 3] {
        let data = spec(channels, 4, 3);
        let (vars, model) = model(&config, &data, Kind::Float);
        tch::no_grad(|| sorted(&vars).into_iter().for_each(|(_, mut var)| drop(var.zero_())));
        let batch = Batch { images: random_images(&data, 3), conditions: conditions(&data, 3) };
        let noise = Noise::new(vec![0; 3], CPU);
        let nats = model.nats(&model.methods()[0], &batch, &noise, &mut go_on).unwrap();
        for nats in Vec::<f64>::try_from(nats).unwrap() {
            let bits = paragone_core::bits_per_dim(nats, data.shape.numel());
            assert!((bits - 8.0).abs() < 1e-6, "{bits}");
        }
    }
}

/// A network of one channel and one layer, worked out by hand on an image of two pixels in a column.
#[test]
fn one_layer_is_its_formula() {
    let _lock = seeded(7);
    one_layer(Gate::Tanh);
    one_layer(Gate::Linear);
}

fn one_layer(gate: Gate) {
    let config = AutoregressiveConfig {
        num_channels: 1,
        num_layers: 1,
        num_frequencies: 2,
        first_kernel: 3,
        kernel_rows: 1,
        kernel_columns: 1,
        head_channels: 1,
        gate,
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
    let gate = |g: [f64; 2]| match gate {
        Gate::Tanh => g[0].tanh() * sigmoid(g[1]),
        Gate::Linear => g[0] * sigmoid(g[1]),
    };
    let class = at("condition.class", &[2, 0]);
    let bias = |k: i64| at("gates.weight", &[k, 0]) * class + at("gates.bias", &[k]);
    let mut want = Vec::new();
    for j in 0..2 {
        // Nothing lies above; left of the second pixel lies the first, of level 200.
        let v = at("first_vertical.bias", &[0]) + at("position", &[0, 0, 0, j]);
        let x = 200.0 / 127.5 - 1.0;
        let [(sin, cos), (sin2, cos2)] = [(PI * x).sin_cos(), (2.0 * PI * x).sin_cos()];
        let seen = if j == 0 { [0.0; 6] } else { [x, sin, cos, sin2, cos2, 1.0] };
        let left: f64 =
            (0..6).map(|f| at("first_horizontal.weight", &[0, f, 0, 0]) * seen[f as usize]).sum();
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
    assert!(got.view([256, 2]).allclose(&want, 1e-5, 1e-5, false));
}
