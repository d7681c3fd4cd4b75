// What kernels of the CPU share, which compute in f32 on tensors in f32 or bf16. Feature maps `[n, c, h, w]` lie channels last: position by
// position.
#pragma once

#include "vector.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <vector>

namespace torch_ext {

inline bool has_kernels(const at::Tensor& x) { return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16); }

inline at::Tensor channels_last(const at::Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

inline at::Tensor plain_floats(const at::Tensor& x) { return x.to(at::kFloat).contiguous(); }

// Calls `body` with a number of the kind.
template <typename Body>
void for_kind(at::ScalarType kind, const Body& body) {
  if (kind == at::kFloat) body(float{});
  else body(c10::BFloat16{});
}

// Calls `body(i, scratch)` for all of `count`; threads share them out, `grain` at a time at least, and have a scratch each. To be inlined, as
// in `vectorised`.
template <typename Body>
void for_each(int64_t count, int64_t grain, const Body& body) {
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch;
    vectorised([&]() TORCH_EXT_VECTORISED {
      for (int64_t i = begin; i < end; i++) body(i, scratch);
    });
  });
}

}  // namespace torch_ext
