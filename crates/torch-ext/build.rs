//! Compiles the C++ side of the bridge against the libtorch that torch-sys found, and tells the crates that link
//! this one where that libtorch is.

use std::{env, path::PathBuf};

const SOURCES: [&str; 12] = [
    "cpp/adamw.cpp",
    "cpp/autocast.cpp",
    "cpp/cross_entropy.cpp",
    "cpp/cuda.cpp",
    "cpp/flops.cpp",
    "cpp/gate.cpp",
    "cpp/lists.cpp",
    "cpp/logistic_mixture.cpp",
    "cpp/norm_silu.cpp",
    "cpp/pin.cpp",
    "cpp/profiler.cpp",
    "cpp/tf32.cpp",
];

fn main() {
    // torch-sys has `links = "tch"`, so what its build script says arrives as DEP_TCH_*.
    let lib =
        PathBuf::from(env::var("DEP_TCH_LIBTORCH_LIB").expect("set by torch-sys's build script"));
    let include = lib.parent().expect("libtorch's lib has a parent").join("include");

    println!("cargo:rerun-if-changed=cpp");
    println!("cargo:libtorch_lib={}", lib.display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());

    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .pic(true)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        // libtorch was built with NDEBUG; without it some of its structs have another layout here than there.
        .define("NDEBUG", None)
        .define("_GLIBCXX_USE_CXX11_ABI", env::var("LIBTORCH_CXX11_ABI").as_deref().unwrap_or("1"))
        // The threads that libtorch's own kernels run on.
        .flag("-fopenmp")
        // Nobody asks for the processor's flags of inexact operations, which comparisons would have to keep.
        .flag("-fno-trapping-math")
        // Vectors only go to functions that are inlined.
        .flag_if_supported("-Wno-psabi")
        // libtorch's headers are full of unused parameters.
        .warnings(false)
        .files(SOURCES);
    let openmp = if build.get_compiler().is_like_clang() { "omp" } else { "gomp" };
    build.compile("torch_ext_cpp");

    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-lib={openmp}");
}
