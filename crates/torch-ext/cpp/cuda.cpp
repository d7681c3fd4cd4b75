// Opens a library for good, tells where the libtorch_cpu in use is, and what CUDA says of a device.
#include "catch.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>
#include <link.h>

#include <cstring>

// The full path of libtorch_cpu.so as the loader found it; null if it has none. The caller frees it.
extern "C" char* torch_ext_libtorch_cpu_path() {
  void* handle = dlopen("libtorch_cpu.so", RTLD_NOW | RTLD_NOLOAD);
  if (!handle) return nullptr;
  struct link_map* map = nullptr;
  char* path = dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 ? strdup(map->l_name) : nullptr;
  dlclose(handle);
  return path;
}

// Never closed: libtorch keeps pointers into what such a library registers. Null, or the loader's message, which the caller frees.
extern "C" char* torch_ext_open_library(const char* path) {
  return dlopen(path, RTLD_NOW | RTLD_GLOBAL) ? nullptr : strdup(dlerror());
}

// Whether the current device has arithmetic in bf16, which libtorch tells by asking whether cuDNN convolves in it there.
extern "C" char* torch_ext_cuda_computes_in_bf16(int32_t* computes) {
  return torch_ext::catching([&] { *computes = at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8(); });
}

// The most bytes that tensors have taken at once on a device.
extern "C" char* torch_ext_cuda_peak_bytes(int32_t device, int64_t* bytes) {
  return torch_ext::catching([&] {
    const auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  });
}
