// Whether CUDA may round f32 to TF32 before it multiplies: one setting of the whole program.
#include "catch.h"

#include <ATen/Context.h>

extern "C" char* torch_ext_tf32(int32_t allowed, int32_t* before) {
  return torch_ext::catching([&] {
    auto& context = at::globalContext();
    *before = context.float32Precision(at::Float32Backend::CUDA, at::Float32Op::CONV) == at::Float32Precision::TF32;
    // These two keep both of libtorch's records of the setting, which must agree.
    context.setAllowTF32CuDNN(allowed != 0);
    context.setAllowTF32CuBLAS(allowed != 0);
  });
}
