//! The profiler writes what was computed while it ran, and nothing else. In a program of its own, for there is one profiler.

use tch::{Device, Kind, Tensor};
use torch_ext::Profiler;

#[test]
fn a_trace_has_forward_and_backward_and_begins_anew() {
    let image = || Tensor::ones([2, 4, 8, 8], (Kind::Float, Device::Cpu));
    let bias = Tensor::ones([2, 4, 1, 1], (Kind::Float, Device::Cpu));
    let folder = std::env::temp_dir().join(format!("torch-ext-profiler-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("trace.json");

    let profiler = Profiler::start(Device::Cpu).unwrap();
    let second = Profiler::start(Device::Cpu).unwrap_err();
    assert!(second.to_string().contains("in use"), "{second}");
    let x = image().set_requires_grad(true);
    let (_, gated) = torch_ext::bias_gate(&x, &bias).unwrap();
    gated.sum(Kind::Float).backward();
    profiler.stop(&path).unwrap();
    let trace = std::fs::read_to_string(&path).unwrap();
    for name in ["aten::sum", "torch_ext::bias_gate\"", "torch_ext::bias_gate_backward\""] {
        assert!(trace.contains(name), "no {name}");
    }
    assert!(!trace.contains("aten::cos"));

    // Of one that is dropped nothing is left.
    drop(Profiler::start(Device::Cpu).unwrap());
    let profiler = Profiler::start(Device::Cpu).unwrap();
    let _ = image().cos();
    profiler.stop(&path).unwrap();
    let trace = std::fs::read_to_string(&path).unwrap();
    assert!(trace.contains("aten::cos") && !trace.contains("torch_ext"));

    let profiler = Profiler::start(Device::Cpu).unwrap();
    let failed = profiler.stop(&folder.join("missing/trace.json")).unwrap_err();
    assert!(failed.to_string().contains("cannot write"), "{failed}");
    std::fs::remove_dir_all(folder).unwrap();
}
