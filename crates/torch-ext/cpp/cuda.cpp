// Opens a library for good, and tells where the libtorch_cpu in use is.
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
