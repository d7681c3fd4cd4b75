// What crosses the border: no exception does, an error message may.
#pragma once

#include <c10/util/Exception.h>
#include <cstring>
#include <exception>

namespace torch_ext {

// Runs `body`. Returns null, or what went wrong as a string that the caller frees.
template <typename Body>
char* catching(const Body& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& e) {
    return strdup(e.what_without_backtrace());
  } catch (const std::exception& e) {
    return strdup(e.what());
  } catch (...) {
    return strdup("an exception of unknown type");
  }
}

}  // namespace torch_ext
