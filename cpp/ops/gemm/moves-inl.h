// Kernel bodies of gemm.h that move data: packing, turning, adding up runs; no include guard on purpose.
#include "core/constant.h"
#include "ops/gemm/gemm.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Loads an up to lanes x lanes block, rows `stride` apart, and turns rows into columns.
template <class T>
NEOCOG_INLINE void load_transposed(const T* src, int64_t stride, int64_t rows, int64_t cols,
                                   Vec<T> (&block)[Vec<T>::lanes]) {
  using V = Vec<T>;
  if (rows == V::lanes && cols == V::lanes) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < V::lanes; ++i) block[i] = V::load(src + i * stride);
  } else {
#pragma GCC unroll 16
    for (int64_t i = 0; i < V::lanes; ++i) {
      block[i] = i < rows ? V::load_n(src + i * stride, cols) : V::zero();
    }
  }
  V::transpose(block);
}

template <class T>
NEOCOG_INLINE void transpose_block(const T* src, int64_t src_stride, T* dst, int64_t dst_stride, int64_t rows,
                                   int64_t cols) {
  using V = Vec<T>;
  V block[V::lanes];
  load_transposed<T>(src, src_stride, rows, cols, block);
  if (rows == V::lanes && cols == V::lanes) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < V::lanes; ++i) block[i].store(dst + i * dst_stride);
  } else {
#pragma GCC unroll 16
    for (int64_t i = 0; i < V::lanes; ++i) {
      if (i < cols) block[i].store_n(dst + i * dst_stride, rows);
    }
  }
}

// The channels of an image with few of them; the compiler knows how to interleave so many vectors.
template <class T, int Rows>
NEOCOG_INLINE void interleave(const T* __restrict src, int64_t src_stride, T* __restrict dst, int64_t cols) {
  for (int64_t c = 0; c < cols; ++c) {
#pragma GCC unroll 4
    for (int64_t r = 0; r < Rows; ++r) dst[c * Rows + r] = src[r * src_stride + c];
  }
}

template <class T, int Cols>
NEOCOG_INLINE void deinterleave(const T* __restrict src, T* __restrict dst, int64_t dst_stride,
                                int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int64_t c = 0; c < Cols; ++c) dst[c * dst_stride + r] = src[r * Cols + c];
  }
}

// Along the rows of the side that lies further apart, which comes from memory or goes there: hardware follows
// the rows of one block, not those of a whole image at once.
template <class T>
void transpose(const T* src, int64_t src_stride, T* dst, int64_t dst_stride, int64_t rows, int64_t cols) {
  if (rows == dst_stride && rows <= 4) {
    with_constant<1, 2, 3, 4>(rows, [&]<int Rows>() __attribute__((always_inline)) {
      interleave<T, Rows>(src, src_stride, dst, cols);
    });
    return;
  }
  if (cols == src_stride && cols <= 4) {
    with_constant<1, 2, 3, 4>(cols, [&]<int Cols>() __attribute__((always_inline)) {
      deinterleave<T, Cols>(src, dst, dst_stride, rows);
    });
    return;
  }
  constexpr int64_t lanes = Vec<T>::lanes, ahead = 2 * kLineBytes / static_cast<int64_t>(sizeof(T));
  if (src_stride > dst_stride) {
    for (int64_t r = 0; r < rows; r += lanes) {
      const int64_t n = min64(lanes, rows - r);
      for (int64_t c = 0; c < cols; c += lanes) {
        const T* const from = src + r * src_stride + c;
        for (int64_t i = 0; i < n; ++i) __builtin_prefetch(from + i * src_stride + ahead);
        transpose_block(from, src_stride, dst + c * dst_stride + r, dst_stride, n, min64(lanes, cols - c));
      }
    }
    return;
  }
  for (int64_t c = 0; c < cols; c += lanes) {
    const int64_t n = min64(lanes, cols - c);
    for (int64_t r = 0; r < rows; r += lanes) {
      T* const to = dst + c * dst_stride + r;
      for (int64_t i = 0; i < n; ++i) __builtin_prefetch(to + i * dst_stride + ahead, 1);
      transpose_block(src + r * src_stride + c, src_stride, to, dst_stride, min64(lanes, rows - r), n);
    }
  }
}

template <class T>
void pack_panel(const PanelSource<T>& source, int64_t first, int64_t vectors, T* b) {
  using V = Vec<T>;
  const int64_t width = vectors * V::lanes;
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t column = first + v * V::lanes;
    const int64_t columns = max64(0, min64(V::lanes, source.columns - column));
    const T* data = source.data + column * source.column_stride;
    T* to = b + v * V::lanes;
    for (int64_t k = 0; k < source.outer; ++k, data += source.outer_stride) {
      T* row = to + k * source.step * width;
      if (source.column_stride == 1) {  // columns lie side by side: nothing to turn
        for (int64_t s = 0; s < source.inner; ++s) {
          if (source.position[s] < 0) continue;
          V::load_n(data + s, columns).store(row + source.position[s] * width);
        }
        continue;
      }
      for (int64_t s = 0; s < source.inner; s += V::lanes) {
        const int64_t n = min64(V::lanes, source.inner - s);
        V block[V::lanes];
        load_transposed<T>(data + s, source.column_stride, columns, n, block);
#pragma GCC unroll 16
        for (int64_t i = 0; i < V::lanes; ++i) {
          if (i >= n || source.position[s + i] < 0) continue;
          block[i].store(row + source.position[s + i] * width);
        }
      }
    }
  }
}

// Whole is size / lanes.
template <class T, int Whole>
NEOCOG_INLINE void add_runs_of(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t runs,
                               int64_t tail) {
  using V = Vec<T>;
  for (int64_t r = 0; r < runs; ++r, x += x_stride, y += y_stride) {
#pragma GCC unroll 8
    for (int i = 0; i < Whole; ++i)
      (V::load(y + i * V::lanes) + V::load(x + i * V::lanes)).store(y + i * V::lanes);
    if (tail == 0) continue;
    T* const to = y + Whole * V::lanes;
    (V::load_n(to, tail) + V::load_n(x + Whole * V::lanes, tail)).store_n(to, tail);
  }
}

template <class T>
void add_runs(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t runs, int64_t size) {
  constexpr int64_t lanes = Vec<T>::lanes;
  constexpr int kMost = 5;  // vectors of a run that are unrolled
  int64_t done = 0;
  for (; size - done >= kMost * lanes; done += kMost * lanes)
    add_runs_of<T, kMost>(x + done, x_stride, y + done, y_stride, runs, 0);
  const int64_t left = size - done;
  with_constant<0, 1, 2, 3, 4>(left / lanes, [&]<int Whole>() __attribute__((always_inline)) {
    if (left > 0) add_runs_of<T, Whole>(x + done, x_stride, y + done, y_stride, runs, left % lanes);
  });
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
