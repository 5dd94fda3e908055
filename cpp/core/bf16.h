// bfloat16, the upper half of a float32, and what this CPU multiplies it with.
#pragma once

#include <cstdint>

#include "core/macros.h"

namespace neocog {

// The bits of x as a bfloat16: nearest, ties to even; NaN stays NaN, what is too large is infinite.
NEOCOG_INLINE uint16_t bf16_bits(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  if (__builtin_isnan(x)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}
NEOCOG_INLINE float rounded_to_bf16(float x) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(bf16_bits(x)) << 16);
}

// What multiplies. The units of the CPU take denormals for zeros; kEmulated rounds as they do, and multiplies
// and adds in float32.
enum class Bf16Unit : int { kEmulated = 0, kAvx512 = 1, kAmx = 2 };
inline constexpr Bf16Unit kAllBf16Units[] = {Bf16Unit::kEmulated, Bf16Unit::kAvx512, Bf16Unit::kAmx};

const char* bf16_unit_name(Bf16Unit unit);
// For kAmx this asks the operating system for the tiles, once in a process: it then keeps their 8 KB for
// every thread that uses them. Children of the process have them too.
bool bf16_unit_available(Bf16Unit unit);
// The best this CPU has, or what NEOCOG_BF16 names; kEmulated while instructions before AVX-512 are active.
Bf16Unit active_bf16_unit();
// For tests and benches; not meant to change while kernels run. False when this CPU lacks `unit`.
bool set_active_bf16_unit(Bf16Unit unit);
// Null, or what is wrong with the environment variable NEOCOG_BF16. It says nothing of this CPU, so that
// nobody asks for tiles before bfloat16 is used.
const char* bf16_environment_error();

}  // namespace neocog
