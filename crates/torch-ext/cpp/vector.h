// Arithmetic on vectors of floats, compiled for several kinds of processors, of which the one it runs on is chosen.
#pragma once

#include <c10/util/BFloat16.h>
#include <cstdint>
#include <cstring>
#include <type_traits>

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

// Numbers are computed sixteen at a time: of arithmetic on these types the compiler makes what vector instructions a processor has. (Left
// to find vectors in loops over single numbers, it makes slow ones where some have 16 bits and others 32; and comparisons of these types
// it takes apart into single numbers where vectors are shorter than sixteen.)
constexpr int64_t LANES = 16;
using Floats = float __attribute__((vector_size(4 * LANES)));
using Words = uint32_t __attribute__((vector_size(4 * LANES)));
using Signed = int32_t __attribute__((vector_size(4 * LANES)));
using Halves = uint16_t __attribute__((vector_size(2 * LANES)));

TORCH_EXT_INLINE Floats all(float value) { return Floats{} + value; }

// Yes where all bits are set, no where none is.
struct Mask {
  Signed bits;

  TORCH_EXT_INLINE Words pick(Words yes, Words no) const {
    const Words mask = reinterpret_cast<Words>(bits);
    return (mask & yes) | (~mask & no);
  }
  TORCH_EXT_INLINE Floats pick(Floats yes, Floats no) const { return reinterpret_cast<Floats>(pick(reinterpret_cast<Words>(yes), reinterpret_cast<Words>(no))); }
};

// Where a < b, by the sign of their difference: of what is not a number, and of infinities alike, anything.
TORCH_EXT_INLINE Mask less(Floats a, Floats b) { return {reinterpret_cast<Signed>(a - b) >> 31}; }

TORCH_EXT_INLINE Mask not_a_number(Floats x) {
  constexpr int32_t INFINITE = 0x7f800000;
  return {(INFINITE - (reinterpret_cast<Signed>(x) & INT32_MAX)) >> 31};
}

TORCH_EXT_INLINE Floats larger(Floats a, Floats b) { return less(a, b).pick(b, a); }
TORCH_EXT_INLINE Floats smaller(Floats a, Floats b) { return less(a, b).pick(a, b); }

// How many of the lanes are in use, where all are.
using Whole = std::integral_constant<int64_t, LANES>;

// Calls `body(first, count)` for `total` numbers, sixteen at a time: `count` is a `Whole`, or for those left over how many they are.
template <typename Body>
TORCH_EXT_INLINE void for_lanes(int64_t total, const Body& body) {
  int64_t first = 0;
  for (; first + LANES <= total; first += LANES) body(first, Whole{});
  if (first < total) body(first, total - first);
}

// Lanes not in use are zero.
template <typename Vector, typename T, typename Count>
TORCH_EXT_INLINE Vector read(const T* from, Count count) {
  Vector value{};
  std::memcpy(&value, from, count * sizeof(T));
  return value;
}

template <typename Count>
TORCH_EXT_INLINE Floats load(const float* from, Count count) { return read<Floats>(from, count); }

template <typename Count>
TORCH_EXT_INLINE Floats load(const c10::BFloat16* from, Count count) {
  return reinterpret_cast<Floats>(__builtin_convertvector(read<Halves>(from, count), Words) << 16);
}

TORCH_EXT_INLINE float load_one(const float* from) { return *from; }
TORCH_EXT_INLINE float load_one(const c10::BFloat16* from) { return *from; }

template <typename Count>
TORCH_EXT_INLINE void store(float* to, Floats value, Count count) { std::memcpy(to, &value, count * sizeof(float)); }

// The nearest, of two as near the even one; not a number stays none.
template <typename Count>
TORCH_EXT_INLINE void store(c10::BFloat16* to, Floats value, Count count) {
  const Words bits = reinterpret_cast<Words>(value);
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Halves halves = __builtin_convertvector(not_a_number(value).pick(Words{} + 0x7fc0, rounded), Halves);
  std::memcpy(to, &halves, count * sizeof(uint16_t));
}

TORCH_EXT_INLINE void store_one(float* to, float value) { *to = value; }
TORCH_EXT_INLINE void store_one(c10::BFloat16* to, float value) { *to = value; }

// e^x, between e^-87 and e^88, as 2^k e^rest, with rest between -ln 2 / 2 and ln 2 / 2.
struct Power {
  Floats rest;
  Words k;

  TORCH_EXT_INLINE explicit Power(Floats x) {
    x = smaller(larger(x, all(-87.0f)), all(88.0f));
    // Adding and taking away 1.5 * 2^23 rounds to a whole number, which then stands in the lowest bits.
    const Floats shifted = x * 1.44269504f + 12582912.0f, whole = shifted - 12582912.0f;
    rest = (x - whole * 0.693145752f) - whole * 1.42860677e-6f;
    k = reinterpret_cast<Words>(shifted);
  }

  // 2^k times a number that is neither tiny nor huge.
  TORCH_EXT_INLINE Floats times(Floats x) const { return reinterpret_cast<Floats>(reinterpret_cast<Words>(x) + (k << 23)); }

  // (e^rest - 1) / rest, by its series.
  TORCH_EXT_INLINE Floats series() const {
    Floats p = all(1.0f / 720);
    p = p * rest + 1.0f / 120;
    p = p * rest + 1.0f / 24;
    p = p * rest + 1.0f / 6;
    p = p * rest + 0.5f;
    return p * rest + 1.0f;
  }
};

// e^x to three units in the last place, between e^-87 and e^88; not a number becomes anything.
TORCH_EXT_INLINE Floats exponential(Floats x) {
  const Power power(x);
  return power.times(power.series() * power.rest + 1.0f);
}

// 1 - e^-x, for x no smaller than zero, as exact where that is small.
TORCH_EXT_INLINE Floats one_less_exponential(Floats x) {
  const Power power(-x);
  const Floats scale = power.times(all(1.0f));
  return (1.0f - scale) - scale * power.series() * power.rest;
}

// ln x, for normal numbers larger than zero: of x = 2^e (1 + s) / (1 - s) it is e ln 2 + 2 artanh s, with s between -0.172 and 0.172.
TORCH_EXT_INLINE Floats logarithm(Floats x) {
  constexpr int32_t ROOT_OF_HALF = 0x3f3504f3;
  const Signed bits = reinterpret_cast<Signed>(x), e = (bits - ROOT_OF_HALF) >> 23;
  const Floats m = reinterpret_cast<Floats>(bits - (e << 23)), s = (m - 1.0f) / (m + 1.0f), square = s * s;
  Floats p = all(1.0f / 9);
  p = p * square + 1.0f / 7;
  p = p * square + 1.0f / 5;
  p = p * square + 1.0f / 3;
  return __builtin_convertvector(e, Floats) * 0.693147181f + 2.0f * (s + s * square * p);
}

// Not a number stays none.
TORCH_EXT_INLINE Floats sigmoid(Floats x) { return not_a_number(x).pick(x, 1.0f / (1.0f + exponential(-x))); }

TORCH_EXT_INLINE float sum(Floats x) {
  float total = 0.0f;
  for (int64_t i = 0; i < LANES; i++) total += x[i];
  return total;
}

TORCH_EXT_INLINE float largest(Floats x) {
  float most = x[0];
  for (int64_t i = 1; i < LANES; i++) most = x[i] > most ? x[i] : most;
  return most;
}

}  // namespace torch_ext
