// Loop bodies of limits.h, compiled once per instruction set; no include guard on purpose.
#include "core/limits.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Independent sums: a multiply-add of 4 cycles, started twice a cycle, needs 8 of them; the portable
// body's separate multiply and add need 8 as well. With two operands they fit 16 registers.
constexpr int kChains = 12;
// Vectors per block: eight cache lines of the widest ones in flight.
constexpr int kBlock = 8;

template <class T>
T fma_chains(int64_t steps) {
  using V = Vec<T>;
  // x <- 0.75 x + 0.25 settles at 1: no overflow and no subnormal, however long it runs.
  const V scale = V::set1(static_cast<T>(0.75)), shift = V::set1(static_cast<T>(0.25));
  V sum[kChains];
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) sum[i] = V::set1(static_cast<T>(i));
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sum[i] = fma(sum[i], scale, shift);
  }
#pragma GCC unroll 16
  for (int i = 1; i < kChains; ++i) sum[0] = sum[0] + sum[i];
  return sum[0].sum();
}

template <class T>
void copy(const T* from, T* to, int64_t blocks) {
  using V = Vec<T>;
  for (int64_t b = 0; b < blocks; ++b, from += kBlock * V::lanes, to += kBlock * V::lanes) {
#pragma GCC unroll 8
    for (int i = 0; i < kBlock; ++i) V::load(from + i * V::lanes).store(to + i * V::lanes);
    // Keeps the loop a loop: as a memcpy it would write past the caches, which no kernel here does.
    asm volatile("" ::: "memory");
  }
}

template <class T>
T read(const T* from, int64_t blocks) {
  using V = Vec<T>;
  V sum[kBlock];
#pragma GCC unroll 8
  for (int i = 0; i < kBlock; ++i) sum[i] = V::zero();
  for (int64_t b = 0; b < blocks; ++b, from += kBlock * V::lanes) {
#pragma GCC unroll 8
    for (int i = 0; i < kBlock; ++i) sum[i] = sum[i] + V::load(from + i * V::lanes);
  }
#pragma GCC unroll 8
  for (int i = 1; i < kBlock; ++i) sum[0] = sum[0] + sum[i];
  return sum[0].sum();
}

template <class T>
constexpr LimitKernels<T> kLimitTable = {2 * kChains * Vec<T>::lanes, &fma_chains<T>, kBlock * Vec<T>::lanes,
                                         &copy<T>, &read<T>};

}  // namespace

extern constinit const LimitKernels<float> limit_kernels_f32 = kLimitTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const LimitKernels<double> limit_kernels_f64 = kLimitTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
