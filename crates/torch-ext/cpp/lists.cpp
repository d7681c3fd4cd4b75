// One operation on all tensors of a list: a few kernel launches on a GPU where there would be one a tensor.
#include "catch.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/stack.h>

#include <vector>

using at::Tensor;

static std::vector<Tensor> list(Tensor* const* tensors, size_t n) {
  std::vector<Tensor> all;
  for (size_t i = 0; i < n; i++) all.push_back(*tensors[i]);
  return all;
}

extern "C" char* torch_ext_clear_gradients(Tensor* const* tensors, size_t n) {
  return torch_ext::catching([&] {
    for (size_t i = 0; i < n; i++) {
      TORCH_CHECK(tensors[i]->defined(), "tensor ", i, " is undefined");
      tensors[i]->mutable_grad().reset();
    }
  });
}

// `norm` is a new tensor, the caller's.
extern "C" char* torch_ext_norm(Tensor* const* tensors, size_t n, Tensor** norm) {
  return torch_ext::catching([&] {
    at::NoGradGuard no_grad;
    *norm = new Tensor(at::stack(at::_foreach_norm(list(tensors, n))).norm());
  });
}

extern "C" char* torch_ext_scale(Tensor* const* tensors, size_t n, const Tensor* factor) {
  return torch_ext::catching([&] {
    at::NoGradGuard no_grad;
    at::_foreach_mul_(list(tensors, n), *factor);
  });
}

extern "C" char* torch_ext_lerp(Tensor* const* from, Tensor* const* to, size_t n, double share) {
  return torch_ext::catching([&] {
    at::NoGradGuard no_grad;
    if (n > 0) at::_foreach_lerp_(list(from, n), list(to, n), share);
  });
}
