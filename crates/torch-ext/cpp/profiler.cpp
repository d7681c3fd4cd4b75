// libtorch's own profiler, from start to the file it writes.
#include "catch.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <fstream>

namespace profiler = torch::autograd::profiler;
namespace impl = torch::profiler::impl;

extern "C" char* torch_ext_profiler_start(int32_t cuda) {
  return torch_ext::catching([&] {
    std::set<impl::ActivityType> activities = {impl::ActivityType::CPU};
    if (cuda) activities.insert(impl::ActivityType::CUDA);
    const impl::ProfilerConfig config(impl::ProfilerState::KINETO, /*report_input_shapes=*/true);
    profiler::prepareProfiler(config, activities);
    profiler::enableProfiler(config, activities);
  });
}

extern "C" char* torch_ext_profiler_stop(const char* path) {
  return torch_ext::catching([&] {
    const auto result = profiler::disableProfiler();
    if (!path) return;
    // `save` does not say when it fails.
    TORCH_CHECK(std::ofstream(path), "cannot write ", path);
    result->save(path);
  });
}
