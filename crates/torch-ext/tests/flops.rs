//! The FLOP counter against counts by hand. In a program of its own, for a counter sees what every thread computes.
//!
//! `torch.utils.flop_counter` of PyTorch 2.11 gives the same numbers, but for the backward pass of grouped convolutions,
//! whose groups it forgets, and for fused attention on the CPU, which it leaves out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tch::{Device, Kind, Tensor};
use torch_ext::{Autocast, FlopCounter};

/// A counter sees every thread, so only one test may compute at a time.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count<T>(work: impl FnOnce() -> T) -> f64 {
    let counter = FlopCounter::start();
    work();
    counter.stop()
}

fn ones(shape: &[i64]) -> Tensor {
    Tensor::ones(shape, (Kind::Float, Device::Cpu))
}

fn weight(shape: &[i64]) -> Tensor {
    ones(shape).set_requires_grad(true)
}

fn backward(y: &Tensor) {
    y.sum(Kind::Float).backward();
}

const NO_BIAS: Option<Tensor> = None;

#[test]
fn products_of_matrices_and_vectors() {
    let _alone = alone();
    let (a, b, v) = (ones(&[3, 5]), ones(&[5, 7]), ones(&[5]));
    assert_eq!(count(|| a.matmul(&b)), 2.0 * 3.0 * 5.0 * 7.0);
    assert_eq!(count(|| ones(&[3, 7]).addmm(&a, &b)), 2.0 * 3.0 * 5.0 * 7.0);
    assert_eq!(count(|| a.matmul(&v)), 2.0 * 3.0 * 5.0);
    assert_eq!(count(|| ones(&[3]).addmv(&a, &v)), 2.0 * 3.0 * 5.0);
    assert_eq!(count(|| v.dot(&v)), 2.0 * 5.0);
    let (a, b) = (ones(&[4, 3, 5]), ones(&[4, 5, 7]));
    let batched = 2.0 * 4.0 * 3.0 * 5.0 * 7.0;
    assert_eq!(count(|| a.bmm(&b)), batched);
    assert_eq!(count(|| ones(&[4, 3, 7]).baddbmm(&a, &b, 1, 1)), batched);
    assert_eq!(count(|| ones(&[3, 7]).addbmm(&a, &b)), batched);
    assert_eq!(count(|| Tensor::einsum("bij,bjk->bik", &[&a, &b], None::<&[i64]>)), batched);
    assert_eq!(count(|| a.reshape([2, 2, 3, 5]).matmul(&b.reshape([2, 2, 5, 7]))), batched);
    assert_eq!(count(|| &a + &a), 0.0);
}

#[test]
fn linear_layer() {
    let _alone = alone();
    let (x, w, b) = (ones(&[2, 6, 5]), weight(&[7, 5]), weight(&[7]));
    let forward = 2.0 * (2 * 6) as f64 * 5.0 * 7.0;
    for bias in [None, Some(&b)] {
        let mut y = Tensor::new();
        assert_eq!(count(|| y = x.linear(&w, bias)), forward);
        assert_eq!(count(|| backward(&y)), forward, "only the weight has a gradient");
    }
    let x = x.set_requires_grad(true);
    assert_eq!(count(|| backward(&x.linear(&w, Some(&b)))), 3.0 * forward);
}

/// 4 images, 6 channels in 3 groups to 9; 8x10 by a 3x3 kernel with stride 2 and padding 1 gives 4x5.
#[test]
fn convolution_with_stride_padding_groups_and_bias() {
    let _alone = alone();
    let forward = 2.0 * 4.0 * (4 * 5) as f64 * 9.0 * (6 / 3) as f64 * 9.0;
    for (kind, autocast) in [(Kind::Float, false), (Kind::Float, true), (Kind::Double, false)] {
        // f64 takes another backend than f32; under autocast the operator is dispatched twice.
        let _guard = autocast.then(|| Autocast::enter(Device::Cpu, Some(Kind::BFloat16)).unwrap());
        let make = |shape: &[i64]| Tensor::ones(shape, (kind, Device::Cpu)).set_requires_grad(true);
        let (x, w, b) = (make(&[4, 6, 8, 10]), make(&[9, 2, 3, 3]), make(&[9]));
        let convolve = |x: &Tensor| x.conv2d(&w, Some(&b), 2, 1, 1, 3);
        let mut y = Tensor::new();
        assert_eq!(count(|| y = convolve(&x)), forward);
        assert_eq!(y.size(), [4, 9, 4, 5]);
        assert_eq!(count(|| backward(&y)), 2.0 * forward, "of input and weight");
        assert_eq!(
            count(|| backward(&convolve(&x.detach()))),
            2.0 * forward,
            "forward, and of the weight"
        );
        assert_eq!(count(|| tch::no_grad(|| convolve(&x))), forward);
    }
}

#[test]
fn convolutions_of_every_kind() {
    let _alone = alone();
    // Dilation 2: 9x9 by a 3x3 kernel that spans 5 gives 5x5.
    let (x, w) = (ones(&[2, 3, 9, 9]), weight(&[4, 3, 3, 3]));
    let positions =
        |n: i32, channels: i32, kernel: i32| 2.0 * 2.0 * f64::from(n * channels * kernel);
    assert_eq!(count(|| x.conv2d(&w, NO_BIAS, 1, 0, 2, 1)), positions(5 * 5, 3 * 4, 9));
    assert_eq!(
        count(|| x.conv2d_padding(&w, NO_BIAS, 1, "same", 1, 1)),
        positions(9 * 9, 3 * 4, 9)
    );
    // Depthwise.
    assert_eq!(
        count(|| x.conv2d(&weight(&[3, 1, 3, 3]), NO_BIAS, 1, 1, 1, 3)),
        positions(9 * 9, 3, 9)
    );
    // One and three dimensions.
    let line = ones(&[2, 3, 9]);
    assert_eq!(
        count(|| line.conv1d(&weight(&[4, 3, 3]), NO_BIAS, 1, 0, 1, 1)),
        positions(7, 3 * 4, 3)
    );
    let volume = ones(&[2, 3, 5, 5, 5]);
    assert_eq!(
        count(|| volume.conv3d(&weight(&[4, 3, 3, 3, 3]), NO_BIAS, 1, 0, 1, 1)),
        positions(27, 3 * 4, 27)
    );
}

/// Every input pixel meets every weight of its channel, forward; the same twice over, backward.
#[test]
fn transposed_convolution() {
    let _alone = alone();
    let (x, w) = (weight(&[2, 6, 5, 5]), weight(&[6, 4, 4, 4]));
    let forward = 2.0 * 2.0 * (5 * 5) as f64 * 6.0 * 4.0 * 16.0;
    let mut y = Tensor::new();
    assert_eq!(count(|| y = x.conv_transpose2d(&w, NO_BIAS, 2, 1, 0, 1, 1)), forward);
    assert_eq!(y.size(), [2, 4, 10, 10]);
    assert_eq!(count(|| backward(&y)), 2.0 * forward);
}

/// A gradient penalty: forward, the gradient of the input, and the gradient of its square, which costs one product for
/// the weight and one for the output's gradient (libtorch computes that whether or not anybody wants it).
#[test]
fn double_backward() {
    let _alone = alone();
    let (x, w) = (weight(&[2, 3, 8, 8]), weight(&[4, 3, 3, 3]));
    let forward = 2.0 * 2.0 * 64.0 * 3.0 * 4.0 * 9.0;
    let mut y = Tensor::new();
    assert_eq!(count(|| y = x.conv2d(&w, NO_BIAS, 1, 1, 1, 1)), forward);
    let mut slope = Tensor::new();
    assert_eq!(
        count(|| slope = Tensor::run_backward(&[y.sum(Kind::Float)], &[&x], true, true).remove(0)),
        forward
    );
    assert_eq!(count(|| backward(&slope.square())), 2.0 * forward);
    assert!(w.grad().defined());
}

/// 2 images, 3 heads, 16 queries on 32 keys of width 8.
#[test]
fn attention() {
    let _alone = alone();
    let (q, k, v) = (weight(&[2, 3, 16, 8]), weight(&[2, 3, 32, 8]), weight(&[2, 3, 32, 8]));
    let product = 2.0 * (2 * 3 * 16 * 32 * 8) as f64;
    let attend = |mask: Option<Tensor>, dropout: f64| {
        Tensor::scaled_dot_product_attention(&q, &k, &v, mask, dropout, false, None, false)
    };
    let mut y = Tensor::new();
    assert_eq!(count(|| y = attend(None, 0.0)), 2.0 * product);
    assert_eq!(count(|| backward(&y)), 5.0 * product, "four, and the scores again");
    let mask = Tensor::ones([16, 32], (Kind::Bool, Device::Cpu));
    assert_eq!(count(|| attend(Some(mask), 0.0)), 2.0 * product);
    // Dropout has no fused kernel on the CPU: plain products, the scores kept.
    assert_eq!(count(|| y = attend(None, 0.5)), 2.0 * product);
    assert_eq!(count(|| backward(&y)), 4.0 * product);
}

#[test]
fn counts_every_thread_and_only_while_it_runs() {
    let _alone = alone();
    let multiply = || drop(ones(&[2, 2]).matmul(&ones(&[2, 2])));
    multiply();
    let outer = FlopCounter::start();
    multiply();
    let inner = FlopCounter::start();
    std::thread::spawn(multiply).join().unwrap();
    assert_eq!(inner.stop(), 16.0);
    drop(FlopCounter::start());
    multiply();
    assert_eq!(outer.stop(), 48.0);
    multiply();
    assert_eq!(count(|| ()), 0.0);
}
