//! Lets this crate's programs and tests find libtorch at run time.

fn main() {
    let lib = std::env::var("DEP_TORCH_EXT_LIBTORCH_LIB").expect("set by torch-ext's build script");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
}
