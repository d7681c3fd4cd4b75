// The thread's autocast state: read it, set it.
#include "catch.h"

#include <ATen/autocast_mode.h>

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
