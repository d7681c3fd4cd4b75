//! Attention: the operation, and feature maps as it takes them.

use tch::{Device, Kind, Tensor};

/// Attention of queries `[n, heads, q, d]` to keys and values `[n, heads, l, d]`, to those alone where `present`, bool `[n, l]`, if
/// that is given: one at least for each image. Returns `[n, heads, q, d]`.
///
/// Vaswani et al. 2017, equation 1.
pub fn attend(query: &Tensor, key: &Tensor, value: &Tensor, present: Option<&Tensor>) -> Tensor {
    let present = present.map(|present| present.unsqueeze(1).unsqueeze(1)); // [n, 1, 1, l]
    // On the way back through the CPU's fused kernel, bf16 takes several times as long as through products of matrices, which
    // keep all scores.
    let trained = [query, key, value].iter().any(|tensor| tensor.requires_grad());
    if trained && query.device() == Device::Cpu && query.kind() == Kind::BFloat16 {
        let width = query.size().last().copied().expect("queries have four dimensions");
        let scores = (query * (width as f64).powf(-0.5)).matmul(&key.transpose(-1, -2));
        let scores = match present {
            None => scores,
            Some(present) => scores.masked_fill(&present.logical_not(), f64::NEG_INFINITY),
        };
        return scores.softmax(-1, None::<Kind>).matmul(value);
    }
    Tensor::scaled_dot_product_attention(query, key, value, present, 0.0, false, None, false)
}

/// The positions of a feature map `[n, c, h, w]` as attention takes them, `[n, heads, h w, c / heads]`: one after the other in
/// memory, as fused kernels demand.
pub fn split_heads(map: &Tensor, heads: i64) -> Tensor {
    let (n, c, h, w) = map.size4().expect("feature maps have four dimensions");
    let positions = map.flatten(2, -1).transpose(1, 2).contiguous();
    positions.reshape([n, h * w, heads, c / heads]).transpose(1, 2)
}

/// The inverse of [`split_heads`], for maps of this height and width.
pub fn join_heads(positions: &Tensor, (h, w): (i64, i64)) -> Tensor {
    let (n, heads, _, each) = positions.size4().expect("attention has four dimensions");
    positions.transpose(1, 2).reshape([n, h, w, heads * each]).permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LOCK;

    #[test]
    fn heads_are_split_and_joined() {
        let x = Tensor::arange(2 * 6 * 4 * 5, (Kind::Float, Device::Cpu)).reshape([2, 6, 4, 5]);
        let split = split_heads(&x, 2);
        assert_eq!(split.size(), [2, 2, 20, 3]);
        // Of image 1, head 1, position (2, 3): its third number is channel 5.
        assert_eq!(split.double_value(&[1, 1, 13, 2]), x.double_value(&[1, 5, 2, 3]));
        assert!(join_heads(&split, (4, 5)).equal(&x));
    }

    #[test]
    fn both_ways_attend_to_what_is_present() {
        let _lock = LOCK.lock().unwrap();
        let normal = |len| Tensor::randn([2, 3, len, 8], (Kind::Float, Device::Cpu));
        let (query, key, value) = (normal(5), normal(4), normal(4));
        let present = Tensor::from_slice(&[true, true, false, true, true, false, false, false]);
        let present = present.reshape([2, 4]);
        for present in [None, Some(&present)] {
            let precise = attend(&query, &key, &value, present);
            for trained in [false, true] {
                let rough = |t: &Tensor| t.to_kind(Kind::BFloat16).set_requires_grad(trained);
                let rough = attend(&rough(&query), &rough(&key), &rough(&value), present);
                assert_eq!((rough.kind(), rough.size()), (Kind::BFloat16, precise.size()));
                let off = (rough.to_kind(Kind::Float) - &precise).abs().max().double_value(&[]);
                assert!(off < 0.03, "{off}");
            }
        }
        // Of the second image only the first key is there, so all queries get its value.
        let second = attend(&query, &key, &value, Some(&present)).get(1);
        assert!(second.allclose(&value.get(1).narrow(1, 0, 1), 1e-5, 1e-6, false));
    }
}
