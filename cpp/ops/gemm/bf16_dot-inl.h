// bf16.h's dot_block; compiled once per unit, no include guard on purpose.
#include "ops/gemm/bf16_moves-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

// A few rows against a few rows of weights, which are rounded on their way.
template <int Rows, int Columns>
NEOCOG_INLINE void dot_tile(const uint16_t* x, int64_t x_row, const float* w, int64_t k_size,
                            const float* bias, float* y, int64_t y_row) {
  V acc[Rows][Columns];
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Columns; ++j) acc[i][j] = V::zero();
  }
  for (int64_t k = 0; k < k_size; k += kBf16Depth) {
    const int64_t n = min64(kBf16Depth, k_size - k), low = min64(V::lanes, n);
    Pairs columns[Columns];
#pragma GCC unroll 4
    for (int j = 0; j < Columns; ++j) {
      const float* const from = w + j * k_size + k;
      columns[j] = n == kBf16Depth ? Pairs::round(V::load(from), V::load(from + V::lanes))
                                   : Pairs::round(V::load_n(from, low),
                                                  n > low ? V::load_n(from + V::lanes, n - low) : V::zero());
    }
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) {
      const Pairs row = Pairs::load(x + i * x_row + k);
#pragma GCC unroll 4
      for (int j = 0; j < Columns; ++j) acc[i][j] = dot(row, columns[j], acc[i][j]);
    }
  }
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Columns; ++j) {
      y[i * y_row + j] = acc[i][j].sum() + (bias == nullptr ? 0.0f : bias[j]);
    }
  }
}

template <int Columns>
NEOCOG_INLINE void dot_rows(const uint16_t* x, int64_t x_row, int64_t rows, const float* w, int64_t k_size,
                            const float* bias, float* y, int64_t y_row) {
  for (; rows >= 4; rows -= 4, x += 4 * x_row, y += 4 * y_row) {
    dot_tile<4, Columns>(x, x_row, w, k_size, bias, y, y_row);
  }
  for (; rows > 0; --rows, x += x_row, y += y_row) dot_tile<1, Columns>(x, x_row, w, k_size, bias, y, y_row);
}

void dot_block(const uint16_t* x, int64_t x_row, int64_t rows, const float* w, int64_t columns,
               int64_t k_size, const float* bias, float* y, int64_t y_row) {
  int64_t o = 0;
  for (; o + 4 <= columns; o += 4) {
    dot_rows<4>(x, x_row, rows, w + o * k_size, k_size, bias == nullptr ? nullptr : bias + o, y + o, y_row);
  }
  for (; o < columns; ++o) {
    dot_rows<1>(x, x_row, rows, w + o * k_size, k_size, bias == nullptr ? nullptr : bias + o, y + o, y_row);
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
