//! Feature sets for this crate's tests.

use paragone_core::Noise;
use tch::{Device, Kind, Tensor};

/// Standard normal features, f32 `[n, d]`.
pub(crate) fn features(n: i64, d: i64, seed: u64) -> Tensor {
    Noise::new(vec![seed], Device::Cpu).normal(0, &[n, d]).squeeze_dim(0)
}

/// f32 `[90, 6]`, exact in any language: `(17 i² + 5 j² + 31 i j + 7 i) mod 101 / 101`.
pub(crate) fn fixed_real() -> Tensor {
    fixed(17, 5)
}

/// The same formula with 23 and 11, times 0.75, plus 0.25.
pub(crate) fn fixed_fake() -> Tensor {
    fixed(23, 11) * 0.75 + 0.25
}

fn fixed(a: i64, b: i64) -> Tensor {
    let i = Tensor::arange(90, (Kind::Int64, Device::Cpu)).unsqueeze(1);
    let j = Tensor::arange(6, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let values = i.square() * a + j.square() * b + &i * &j * 31 + &i * 7;
    values.remainder(101).to_kind(Kind::Float) / 101.0
}
