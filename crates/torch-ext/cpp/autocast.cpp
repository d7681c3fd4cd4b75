// The thread's autocast state: read it, set it. And autocast on a processor that has no arithmetic in 16 bits.
#include "catch.h"

#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include <algorithm>

// In Rust: `State` of src/autocast.rs.
struct AutocastState {
  int32_t enabled;
  int32_t kind;
  int32_t cache;
};

extern "C" char* torch_ext_autocast_get(int32_t cuda, AutocastState* state) {
  return torch_ext::catching([&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    state->enabled = at::autocast::is_autocast_enabled(device);
    state->kind = static_cast<int32_t>(at::autocast::get_autocast_dtype(device));
    state->cache = at::autocast::is_autocast_cache_enabled();
  });
}

extern "C" char* torch_ext_autocast_set(int32_t cuda, const AutocastState* state) {
  return torch_ext::catching([&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    at::autocast::set_autocast_enabled(device, state->enabled != 0);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(state->kind));
    at::autocast::set_autocast_cache_enabled(state->cache != 0);
  });
}

namespace {

// What the networks are made of, of all that autocast computes in 16 bits.
constexpr const char* OPERATORS[] = {
    "addmm", "baddbmm", "bmm", "conv1d", "conv1d.padding", "conv2d", "conv2d.padding", "linear", "matmul", "mm",
    "scaled_dot_product_attention",
};

// An operator under autocast, in f32 between roundings to autocast's kind: what a processor with instructions for that kind
// computes too, but for the order of its sums. Gradients are rounded on their way back through the same casts.
void between_roundings(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard without_autocast(c10::DispatchKey::AutocastCPU);
  const auto kind = at::autocast::get_autocast_dtype(at::kCPU);
  const auto arguments = static_cast<std::ptrdiff_t>(op.schema().arguments().size());
  std::for_each(stack->end() - arguments, stack->end(), [kind](c10::IValue& argument) {
    if (argument.isTensor() && at::autocast::is_eligible(argument.toTensor(), at::kCPU)) {
      argument = argument.toTensor().to(kind).to(at::kFloat);
    }
  });
  op.callBoxed(stack);
  auto& result = stack->back();
  if (result.toTensor().scalar_type() == at::kFloat) result = result.toTensor().to(kind);
}

// libtorch warns that its own kernels are replaced, which is what is wanted.
struct Quiet final : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

}  // namespace

// From the first call on, on all threads, until the program ends.
extern "C" char* torch_ext_autocast_emulate() {
  return torch_ext::catching([] {
    static const auto library = [] {
      torch::Library library(torch::Library::IMPL, "aten", c10::DispatchKey::AutocastCPU, __FILE__, __LINE__);
      Quiet quiet;
      const c10::WarningUtils::WarningHandlerGuard guard(&quiet);
      for (const auto* name : OPERATORS) {
        library.impl(name, torch::CppFunction::makeFromBoxedFunction<&between_roundings>());
      }
      return library;
    }();
  });
}
