#include "core/bf16.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/isa.h"

#if NEOCOG_X86
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace neocog {
namespace {

#if NEOCOG_X86
// Bit `bit` of a register of CPUID's leaf 7.
bool feature(unsigned subleaf, int reg, unsigned bit) {
  unsigned r[4] = {0, 0, 0, 0};
  return __get_cpuid_count(7, subleaf, &r[0], &r[1], &r[2], &r[3]) != 0 && ((r[reg] >> bit) & 1) != 0;
}

[[maybe_unused]] bool has_avx512_bf16() {
  return feature(1, 0, 5);
}

[[maybe_unused]] bool has_amx_bf16() {
  return feature(0, 3, 22) && feature(0, 3, 24);
}

// Tiles are large, so Linux saves them only for processes that have asked. Refused where a thread has a
// signal stack too small for them.
[[maybe_unused]] bool permit_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

const Bf16Unit* named(const char* name) {
  for (const Bf16Unit& unit : kAllBf16Units) {
    if (std::strcmp(name, bf16_unit_name(unit)) == 0) return &unit;
  }
  return nullptr;
}

// The unit that NEOCOG_BF16 names, or null.
const Bf16Unit* wanted() {
  const char* const name = std::getenv("NEOCOG_BF16");
  return name == nullptr ? nullptr : named(name);
}

Bf16Unit initial_unit() {
  const Bf16Unit most = wanted() == nullptr ? Bf16Unit::kAmx : *wanted();
  for (const Bf16Unit unit : {Bf16Unit::kAmx, Bf16Unit::kAvx512}) {
    if (unit <= most && bf16_unit_available(unit)) return unit;
  }
  return Bf16Unit::kEmulated;
}

std::atomic<Bf16Unit>& chosen() {
  static std::atomic<Bf16Unit> unit{initial_unit()};
  return unit;
}

}  // namespace

const char* bf16_unit_name(Bf16Unit unit) {
  switch (unit) {
    case Bf16Unit::kAvx512: return "avx512_bf16";
    case Bf16Unit::kAmx: return "amx_bf16";
    default: return "emulated";
  }
}

bool bf16_unit_available(Bf16Unit unit) {
  if (unit == Bf16Unit::kEmulated) return true;
#if NEOCOG_AVX512_BF16
  if (!isa_available(Isa::kAvx512) || !has_avx512_bf16()) return false;
  if (unit == Bf16Unit::kAvx512) return true;
#if NEOCOG_AMX
  static const bool tiles = has_amx_bf16() && permit_tiles();
  return tiles;
#endif
#endif
  return false;
}

Bf16Unit active_bf16_unit() {
  return active_isa() >= Isa::kAvx512 ? chosen().load(std::memory_order_relaxed) : Bf16Unit::kEmulated;
}

bool set_active_bf16_unit(Bf16Unit unit) {
  if (!bf16_unit_available(unit)) return false;
  chosen().store(unit, std::memory_order_relaxed);
  return true;
}

const char* bf16_environment_error() {
  const char* const name = std::getenv("NEOCOG_BF16");
  if (name == nullptr || *name == '\0' || named(name) != nullptr) return nullptr;
  return "must be one of emulated, avx512_bf16, amx_bf16";
}

}  // namespace neocog
