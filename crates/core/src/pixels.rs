use tch::{Kind, Tensor};

/// Values that an 8-bit pixel can take.
pub const NUM_LEVELS: i64 = 256;

/// The 8-bit levels of an image: `round((x + 1) * 127.5)`, clamped.
///
/// `images`: f32 in [-1, 1] (values outside are clamped). Returns i64 of the same shape in `0..256`.
pub fn to_levels(images: &Tensor) -> Tensor {
    ((images + 1.0) * 127.5).round().clamp(0.0, 255.0).to_kind(Kind::Int64)
}

/// The inverse of [`to_levels`]: integers in `0..256` to f32 in [-1, 1].
pub fn from_levels(levels: &Tensor) -> Tensor {
    levels.to_kind(Kind::Float) / 127.5 - 1.0
}

/// Bits per dimension of a negative log-likelihood in nats per image of `numel` values.
pub fn bits_per_dim(nats: f64, numel: i64) -> f64 {
    nats / (numel as f64 * std::f64::consts::LN_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_round_trip() {
        let levels = Tensor::arange(256, (Kind::Int64, tch::Device::Cpu));
        assert!(to_levels(&from_levels(&levels)).equal(&levels));
    }

    #[test]
    fn levels_round_and_clamp() {
        let images = Tensor::from_slice(&[-1.5f32, -1.0, -0.9961, -0.99, 0.0039, 1.0, 3.0]);
        let levels = Vec::<i64>::try_from(to_levels(&images)).unwrap();
        assert_eq!(levels, [0, 0, 0, 1, 128, 255, 255]);
    }

    #[test]
    fn uniform_costs_eight_bits() {
        assert!((bits_per_dim(784.0 * 256f64.ln(), 784) - 8.0).abs() < 1e-12);
    }
}
