//! What `tune_allocator` saves: times training steps of a small convolutional network on the CPU, without it or with.
//!
//! `cargo run --release -p torch-ext --example allocator [tuned]`

#![allow(clippy::print_stdout)]

use std::time::Instant;
use tch::{
    Device, Kind, Tensor,
    nn::{self, Module},
};

fn main() {
    let tuned = std::env::args().any(|argument| argument == "tuned");
    if tuned {
        torch_ext::tune_allocator();
    }
    let vs = nn::VarStore::new(Device::Cpu);
    let network = network(&vs.root());
    let x = Tensor::randn([64, 1, 32, 32], (Kind::Float, Device::Cpu));

    let mut times: Vec<_> = (0..20)
        .map(|_| {
            let start = Instant::now();
            let loss = (network.forward(&x) - &x).square().mean(Kind::Float);
            loss.backward();
            vs.trainable_variables().iter_mut().for_each(Tensor::zero_grad);
            start.elapsed().as_secs_f64()
        })
        .skip(3)
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{}: {:.0} ms a step (median), {} MiB at the peak",
        if tuned { "tuned" } else { "not tuned" },
        1e3 * times[times.len() / 2],
        torch_ext::peak_memory_bytes(Device::Cpu).unwrap_or(0) >> 20
    );
}

/// Six 3x3 convolutions at full resolution, group-normalised: large activations, as in a U-Net's outer blocks.
fn network(p: &nn::Path) -> impl Module + use<> {
    let config = nn::ConvConfig { padding: 1, ..Default::default() };
    let mut network = nn::seq().add(nn::conv2d(p / "in", 1, 32, 3, config));
    for i in 0..4 {
        network = network
            .add(nn::group_norm(p / "norm" / i, 8, 32, Default::default()))
            .add_fn(|h| h.silu())
            .add(nn::conv2d(p / "conv" / i, 32, 32, 3, config));
    }
    network.add(nn::conv2d(p / "out", 32, 1, 3, config))
}
