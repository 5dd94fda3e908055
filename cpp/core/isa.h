// Which instruction set the kernels run on: the best this CPU has, or what NEOCOG_ISA names.
#pragma once

#include "core/macros.h"

namespace neocog {

// kAmx: AVX-512, and float32 products in parts on tiles (ops/gemm/parts.h).
enum class Isa : int { kScalar = 0, kAvx2 = 1, kAvx512 = 2, kAmx = 3 };
inline constexpr Isa kAllIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAmx};

const char* isa_name(Isa isa);
bool isa_available(Isa isa);
Isa active_isa();
// For tests and benches; not meant to change while kernels run. False when this CPU lacks `isa`.
bool set_active_isa(Isa isa);
// Null, or what was wrong with the environment variable NEOCOG_ISA when the library loaded.
const char* isa_environment_error();

}  // namespace neocog

// The float32 kernel table of the active instruction set; float64 always runs the portable body.
#if NEOCOG_X86
#define NEOCOG_SELECT_ISA(table)                                    \
  (::neocog::active_isa() >= ::neocog::Isa::kAvx512 ? avx512::table \
   : ::neocog::active_isa() == ::neocog::Isa::kAvx2 ? avx2::table   \
                                                    : scalar::table)
// Declares `<table>_f32` in every namespace and `<table>_f64` in the portable one.
#define NEOCOG_DECLARE_TABLES(Type, table)     \
  namespace scalar {                           \
  extern const Type<float> table##_f32;        \
  extern const Type<double> table##_f64;       \
  }                                            \
  namespace avx2 {                             \
  extern const Type<float> table##_f32;        \
  }                                            \
  namespace avx512 {                           \
  extern const Type<float> table##_f32;        \
  }                                            \
  template <class T>                           \
  const Type<T>& table();                      \
  template <>                                  \
  inline const Type<float>& table<float>() {   \
    return NEOCOG_SELECT_ISA(table##_f32);     \
  }                                            \
  template <>                                  \
  inline const Type<double>& table<double>() { \
    return scalar::table##_f64;                \
  }
#else
#define NEOCOG_SELECT_ISA(table) (scalar::table)
#define NEOCOG_DECLARE_TABLES(Type, table)     \
  namespace scalar {                           \
  extern const Type<float> table##_f32;        \
  extern const Type<double> table##_f64;       \
  }                                            \
  template <class T>                           \
  const Type<T>& table();                      \
  template <>                                  \
  inline const Type<float>& table<float>() {   \
    return scalar::table##_f32;                \
  }                                            \
  template <>                                  \
  inline const Type<double>& table<double>() { \
    return scalar::table##_f64;                \
  }
#endif
