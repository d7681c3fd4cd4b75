//! Mixed precision by autocast, on the CPU as on CUDA (tch's own guard does nothing without CUDA).

use crate::{Error, cuda, ffi};
use std::marker::PhantomData;
use tch::{Device, Kind};

/// Autocast on this thread for one kind of device, until dropped: then what was before is restored, after a panic too.
///
/// Guards nest, and are dropped in the reverse order of their making, as scopes do. Weights are cast anew at every use:
/// libtorch's cache of cast weights would hand one cast under `no_grad` to a later use that wants its gradient.
#[derive(Debug)]
#[must_use = "autocast ends where the guard is dropped"]
pub struct Autocast {
    cuda: bool,
    before: ffi::AutocastState,
    /// The state belongs to this thread, so the guard must not leave it.
    not_send: PhantomData<*const ()>,
}

impl Autocast {
    /// Turns autocast to `kind` (`BFloat16` or `Half`) on for operations on `device`, or off for `None`.
    ///
    /// A CPU that does not compute in bf16 computes in f32 what autocast would have it compute in 16 bits, its input and output
    /// rounded to them: the same numbers but for the order of sums, in about the time of f32, where libtorch's own kernels take
    /// many times as long. The first such call decides so for all threads.
    ///
    /// # Errors
    /// For any other kind, and for devices that are neither CPU nor CUDA.
    pub fn enter(device: Device, kind: Option<Kind>) -> Result<Autocast, Error> {
        let cuda = match device {
            Device::Cpu => false,
            Device::Cuda(_) => true,
            _ => return Err(Error::Autocast { device, kind }),
        };
        if kind.is_some() && !cuda && !computes_in_bf16(device) {
            emulate()?;
        }
        let before = state(cuda)?;
        let inside = match kind {
            None => ffi::AutocastState { enabled: 0, ..before },
            // The numbers are those of c10::ScalarType.
            Some(Kind::Half) => ffi::AutocastState { enabled: 1, kind: 5, cache: 0 },
            Some(Kind::BFloat16) => ffi::AutocastState { enabled: 1, kind: 15, cache: 0 },
            Some(_) => return Err(Error::Autocast { device, kind }),
        };
        set_state(cuda, inside)?;
        Ok(Autocast { cuda, before, not_send: PhantomData })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // It was this thread's state before, so libtorch takes it again.
        let restored = set_state(self.cuda, self.before);
        debug_assert!(restored.is_ok(), "{restored:?}");
    }
}

/// Whether a device has instructions for bf16: CPUs with AVX-512's, and GPUs from Ampere on.
pub fn computes_in_bf16(device: Device) -> bool {
    match device {
        Device::Cuda(_) => cuda::computes_in_bf16(),
        #[cfg(target_arch = "x86_64")]
        Device::Cpu => std::arch::is_x86_feature_detected!("avx512bf16"),
        _ => false,
    }
}

/// Has autocast on the CPU, of every thread and from the first call on, compute in f32 between roundings.
fn emulate() -> Result<(), Error> {
    // SAFETY: the function takes nothing.
    unsafe { ffi::check("autocast", ffi::torch_ext_autocast_emulate()) }
}

fn state(cuda: bool) -> Result<ffi::AutocastState, Error> {
    let mut state = ffi::AutocastState::default();
    // SAFETY: `state` outlives the call.
    unsafe { ffi::check("autocast", ffi::torch_ext_autocast_get(cuda.into(), &mut state))? };
    Ok(state)
}

fn set_state(cuda: bool, state: ffi::AutocastState) -> Result<(), Error> {
    // SAFETY: `state` outlives the call.
    unsafe { ffi::check("autocast", ffi::torch_ext_autocast_set(cuda.into(), &state)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;
    use tch::Tensor;

    const CPU: Device = Device::Cpu;

    /// The kind that a product of two f32 matrices comes out in.
    fn product_kind() -> Kind {
        let ones = Tensor::ones([2, 2], (Kind::Float, CPU));
        ones.matmul(&ones).kind()
    }

    #[test]
    fn casts_inside_and_restores_after() {
        for kind in [Kind::BFloat16, Kind::Half] {
            let before = state(false).unwrap();
            let guard = Autocast::enter(CPU, Some(kind)).unwrap();
            assert_eq!(product_kind(), kind);
            drop(guard);
            assert_eq!(product_kind(), Kind::Float);
            assert_eq!(state(false).unwrap(), before);
        }
    }

    /// With instructions for bf16 or without them: values and gradients are those of f64 on rounded values, rounded.
    #[test]
    fn computes_between_roundings() {
        tch::manual_seed(5);
        let values = |size: &[i64]| Tensor::randn(size, (Kind::Float, CPU));
        let image = || [values(&[2, 5, 6, 6]), values(&[4, 5, 3, 3]), values(&[4])];
        let rows = || [values(&[7, 5]), values(&[4, 5]), values(&[4])];
        let rounded = |x: &Tensor| x.to_kind(Kind::BFloat16).to_kind(Kind::Double);
        type Operator = fn(&[Tensor]) -> Tensor;
        let operators: [(&str, [Tensor; 3], Operator); 4] = [
            ("conv2d", image(), |x| x[0].conv2d(&x[1], Some(&x[2]), 1, 1, 1, 1)),
            ("linear", rows(), |x| x[0].linear(&x[1], Some(&x[2]))),
            ("addmm", rows(), |x| x[2].addmm(&x[0], &x[1].tr())),
            ("matmul", rows(), |x| x[0].matmul(&x[1].tr())),
        ];
        for (name, arguments, operator) in operators {
            let of = |arguments: &[Tensor], seen: &dyn Fn(Tensor) -> Tensor| {
                let arguments: Vec<Tensor> =
                    arguments.iter().map(|x| x.copy().set_requires_grad(true)).collect();
                let y = seen(operator(&arguments));
                y.square().sum(y.kind()).backward();
                let gradients = arguments.iter().map(Tensor::grad).filter(Tensor::defined);
                [y.detach()].into_iter().chain(gradients).collect::<Vec<_>>()
            };
            let got = {
                let _guard = Autocast::enter(CPU, Some(Kind::BFloat16)).unwrap();
                of(&arguments, &|y| {
                    assert_eq!(y.kind(), Kind::BFloat16, "{name}");
                    y.to_kind(Kind::Float)
                })
            };
            let want = of(&arguments.each_ref().map(rounded), &|y| {
                // Rounded without rounding its gradient, which in the network above is the next operator's business.
                &y + (rounded(&y) - &y).detach()
            });
            assert_eq!(got.len(), want.len(), "{name}");
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let error = (got.to_kind(Kind::Double) - want).norm() / want.norm();
                assert!(error.double_value(&[]) < 3e-3, "{name}, {i}: {error}");
                if i == 0 {
                    let exact = got.to_kind(Kind::Double).eq_tensor(want);
                    let share = exact.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
                    assert!(share > 0.97, "{name}: {share} of the numbers are the nearest of bf16");
                }
            }
        }
    }

    #[test]
    fn nests() {
        let _outer = Autocast::enter(CPU, Some(Kind::BFloat16)).unwrap();
        {
            let _off = Autocast::enter(CPU, None).unwrap();
            assert_eq!(product_kind(), Kind::Float);
            let _half = Autocast::enter(CPU, Some(Kind::Half)).unwrap();
            assert_eq!(product_kind(), Kind::Half);
        }
        assert_eq!(product_kind(), Kind::BFloat16);
    }

    #[test]
    fn restores_after_a_panic() {
        let panicked = catch_unwind(|| {
            let _guard = Autocast::enter(CPU, Some(Kind::BFloat16)).unwrap();
            Tensor::ones([2], (Kind::Float, CPU)).matmul(&Tensor::ones([3], (Kind::Float, CPU)))
        });
        assert!(panicked.is_err());
        assert_eq!(product_kind(), Kind::Float);
    }

    #[test]
    fn is_the_thread_s_own() {
        let _guard = Autocast::enter(CPU, Some(Kind::BFloat16)).unwrap();
        assert_eq!(std::thread::spawn(product_kind).join().unwrap(), Kind::Float);
    }

    #[test]
    fn cuda_is_separate() {
        let _guard = Autocast::enter(Device::Cuda(0), Some(Kind::BFloat16)).unwrap();
        assert_eq!(product_kind(), Kind::Float);
    }

    /// What a self-conditioned diffusion model does: the network without gradients first, then with them.
    #[test]
    fn a_use_without_gradients_leaves_later_ones_theirs() {
        let weight = Tensor::ones([2, 2], (Kind::Float, CPU)).set_requires_grad(true);
        let x = Tensor::ones([1, 2], (Kind::Float, CPU));
        let _guard = Autocast::enter(CPU, Some(Kind::BFloat16)).unwrap();
        let first = tch::no_grad(|| x.matmul(&weight));
        (first + x).matmul(&weight).sum(Kind::Float).backward();
        assert_eq!(weight.grad(), Tensor::full([2, 2], 3.0, (Kind::Float, CPU)));
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for (device, kind) in
            [(CPU, Some(Kind::Double)), (CPU, Some(Kind::Float)), (Device::Mps, Some(Kind::Half))]
        {
            assert!(matches!(Autocast::enter(device, kind), Err(Error::Autocast { .. })));
        }
        let error = Autocast::enter(CPU, Some(Kind::Double)).unwrap_err().to_string();
        assert_eq!(error, "autocast to Some(Double) on Cpu is not supported");
        assert_eq!(product_kind(), Kind::Float);
    }
}
