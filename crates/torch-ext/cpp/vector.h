// Loops over floats that the compiler turns into vector instructions of the processor it runs on.
#pragma once

#include <c10/util/BFloat16.h>
#include <cstdint>
#include <cstring>

namespace torch_ext {

#define TORCH_EXT_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__)
#if defined(__clang__)
#define TORCH_EXT_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"
#else
#define TORCH_EXT_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512"
#endif

template <typename Body>
__attribute__((target(TORCH_EXT_AVX512))) void on_avx512(const Body& body) {
  body();
}

template <typename Body>
__attribute__((target("avx2,fma"))) void on_avx2(const Body& body) {
  body();
}
#endif

// Runs `body`, compiled for the best of three kinds of processors. It has to be inlined: `[&]() TORCH_EXT_VECTORISED { .. }`.
#define TORCH_EXT_VECTORISED __attribute__((always_inline))
template <typename Body>
void vectorised(const Body& body) {
#if defined(__x86_64__)
  static const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx512) return on_avx512(body);
  if (avx2) return on_avx2(body);
#endif
  body();
}

TORCH_EXT_INLINE float as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

TORCH_EXT_INLINE uint32_t as_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

TORCH_EXT_INLINE float load(float value) { return value; }
TORCH_EXT_INLINE float load(c10::BFloat16 value) { return as_float(uint32_t{value.x} << 16); }

TORCH_EXT_INLINE void store(float* to, float value) { *to = value; }

// The nearest, of two as near the even one; not a number stays none.
TORCH_EXT_INLINE void store(c10::BFloat16* to, float value) {
  const uint32_t bits = as_bits(value);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to->x = static_cast<uint16_t>(value != value ? 0x7fc0 : rounded);
}

// e^x to three units in the last place, between e^-87 and e^88: 2^k times a polynomial on [-ln 2 / 2, ln 2 / 2].
TORCH_EXT_INLINE float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  // Adding and taking away 1.5 * 2^23 rounds to a whole number, which then stands in the lowest bits.
  const float shifted = x * 1.44269504f + 12582912.0f;
  const float k = shifted - 12582912.0f;
  const float r = (x - k * 0.693145752f) - k * 1.42860677e-6f;
  float p = 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return as_float(as_bits(p) + (as_bits(shifted) << 23));
}

// Not a number stays none, which `exponential` does not promise.
TORCH_EXT_INLINE float sigmoid(float x) { return x != x ? x : 1.0f / (1.0f + exponential(-x)); }

}  // namespace torch_ext
