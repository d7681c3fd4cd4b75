//! Bilinear resizing as TensorFlow 1 has it (`align_corners=False`): pixel i of the result lies at i · (old / new) of the
//! image, without the half-pixel offset that later software has. Pixels beyond the edge repeat it; nothing is smoothed.

use crate::Result;
use tch::{Kind, Tensor};

/// `x`, f32 `[n, c, h, w]` -> f32 `[n, c, size, size]`.
pub(super) fn bilinear(x: &Tensor, size: i64) -> Result<Tensor> {
    along(&along(x, 3, size)?, 2, size)
}

/// Resizes one dimension.
fn along(x: &Tensor, dim: usize, size: i64) -> Result<Tensor> {
    let old = x.size()[dim];
    // In f32, as TensorFlow computes it: where a position is next to a pixel's, its rounding decides which one is below.
    let scale = old as f32 / size as f32;
    let position: Vec<f32> = (0..size).map(|i| i as f32 * scale).collect();
    let below: Vec<i64> = position.iter().map(|&at| at as i64).collect();
    let above: Vec<i64> = below.iter().map(|&i| (i + 1).min(old - 1)).collect();
    let weight: Vec<f32> = position.iter().zip(&below).map(|(&at, &i)| at - i as f32).collect();

    let mut shape = [1i64; 4];
    shape[dim] = size;
    let weight = Tensor::from_slice(&weight).to_device(x.device()).reshape(shape);
    let pixels = |rows: &[i64]| {
        x.f_index_select(dim as i64, &Tensor::from_slice(rows).to_device(x.device()))
    };
    let (below, above) = (pixels(&below)?, pixels(&above)?);
    debug_assert_eq!(below.kind(), Kind::Float);
    Ok(&below + (above - &below) * weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn ramp(h: i64, w: i64) -> Tensor {
        Tensor::arange(h * w, (Kind::Float, Device::Cpu)).reshape([1, 1, h, w])
    }

    fn row(x: &Tensor, y: i64) -> Vec<f32> {
        Vec::try_from(x.select(2, y).flatten(0, -1)).unwrap()
    }

    /// Worked by hand: positions 0, 2/3, 4/3 of pixels 0 and 1, the last beyond the edge.
    #[test]
    fn is_tensorflow_s() {
        let x = bilinear(&ramp(2, 2), 3).unwrap();
        let (third, near) = (2.0 / 3.0, |a: &[f32], b: [f32; 3]| {
            a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6)
        });
        assert!(near(&row(&x, 0), [0.0, third, 1.0]), "{:?}", row(&x, 0));
        assert!(near(&row(&x, 1), [2.0 * third, 3.0 * third, 2.0 * third + 1.0]));
        assert!(near(&row(&x, 2), [2.0, 2.0 + third, 3.0]));
    }

    #[test]
    fn smaller_takes_every_second_pixel() {
        let x = bilinear(&ramp(4, 4), 2).unwrap();
        assert_eq!((row(&x, 0), row(&x, 1)), (vec![0.0, 2.0], vec![8.0, 10.0]));
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        assert_eq!(bilinear(&ramp(5, 5), 5).unwrap(), ramp(5, 5));
    }
}
