#include "core/isa.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/bf16.h"

namespace neocog {
namespace {

Isa best_isa() {
  for (const Isa isa : {Isa::kAmx, Isa::kAvx512, Isa::kAvx2}) {
    if (isa_available(isa)) return isa;
  }
  return Isa::kScalar;
}

const char* environment_error = nullptr;

Isa initial_isa() {
  const char* wanted = std::getenv("NEOCOG_ISA");
  if (wanted == nullptr || *wanted == '\0') return best_isa();
  for (const Isa isa : kAllIsas) {
    if (std::strcmp(wanted, isa_name(isa)) != 0) continue;
    if (isa_available(isa)) return isa;
    environment_error = "names an instruction set that this CPU does not have";
    return best_isa();
  }
  environment_error = "must be one of scalar, avx2, avx512, amx";
  return best_isa();
}

std::atomic<Isa>& active() {
  static std::atomic<Isa> isa{initial_isa()};
  return isa;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kAmx: return "amx";
    default: return "scalar";
  }
}

bool isa_available(Isa isa) {
#if NEOCOG_X86
  // The compiler's own CPU test also asks the operating system whether it saves the registers.
  switch (isa) {
    case Isa::kScalar: return true;
    case Isa::kAvx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("fma");
    case Isa::kAmx: return bf16_unit_available(Bf16Unit::kAmx);
  }
  return false;
#else
  return isa == Isa::kScalar;
#endif
}

Isa active_isa() {
  return active().load(std::memory_order_relaxed);
}

bool set_active_isa(Isa isa) {
  if (!isa_available(isa)) return false;
  active().store(isa, std::memory_order_relaxed);
  return true;
}

const char* isa_environment_error() {
  active();
  return environment_error;
}

}  // namespace neocog
