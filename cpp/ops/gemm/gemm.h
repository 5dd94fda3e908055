// Register-tiled matrix products: the inner loops of every dense operator.
//   taps_panel:  y[p, :] = sum over t,k of a[row[p] + tap[t] + k] * b[t, k, :]      (forward, input
//   gradients) outer_panel: dw[f, :] += sum over p of a[row[p] + f] * dy[p, :]                  (weight
//   gradients)
// A is read in place through element offsets, so a convolution needs no matrix of columns; its
// adjoint may have one of a few pixels, which add_runs folds back.
// B and dy come in panels: `vectors` registers wide, packed and padded with zeros.
// Products accumulate in the type of the data, in the order of (t, k) or p: |error| <= terms * eps * sum
// |a*b|.
#pragma once

#include <cstdint>

#include "core/fetch.h"
#include "core/isa.h"
#include "core/window.h"
#include "ops/elementwise/elementwise.h"

namespace neocog {

template <class T>
struct TapsPanel {
  const T* a;
  const int64_t* row;  // (pixels) offsets into a
  const int64_t* tap;  // (taps) offsets added to row
  int64_t pixels, taps, run;
  const T* b;                // (taps, run, vectors * lanes)
  int64_t vectors, columns;  // the last vector holds columns that exist and zeros
  const T* bias;             // (columns) or null
  T* y;
  const int64_t* out;  // (pixels) offsets into y; columns are contiguous
  bool clamp;          // y = min(hi, max(lo, y)), NaN stays NaN
  T lo, hi;
  Ahead<T> next = {};           // what will be needed after this panel
  bool accumulate = false;      // adds to y, and no bias
  const T* residual = nullptr;  // laid out as y: added to the sums before they are clamped
  bool ahead_of_y = false;      // asks for y and the residual while the products of a tile are made
};

// Whether asking for y ahead pays: with one panel, of one phase of outputs, hardware follows the rows, and
// few terms are done before memory answers.
constexpr bool ahead_of_y_pays(int64_t panels, int64_t terms) {
  return panels > 1 && terms >= 64;
}

inline constexpr int64_t kMostPlaneOutputs = 8;  // plane_outputs of any instruction set
// y[o, q] = sum over c,t of w[c, t, o] * x[c * plane + tap[t] + q]: the same product with vectors along the
// pixels, for results of so few channels that vectors along the channels would be mostly empty.
template <class T>
struct PlanesPanel {
  const T* x;  // planes with slack behind them: reads run up to plane_slack elements past the last q
  int64_t plane;
  const int64_t* tap;  // (taps)
  int64_t taps, channels;
  const T* w;       // (channels, taps, outputs)
  int64_t outputs;  // at most plane_outputs
  const T* bias;    // (outputs) or null
  T* y;             // (outputs, y_plane), y_plane >= count rounded up to a vector
  int64_t y_plane, count;
  bool clamp;
  T lo, hi;
  bool accumulate = false;  // starts from y instead of the bias
};

template <class T>
struct OuterPanel {
  const T* a;
  const int64_t* row;    // (pixels) offsets into a
  int64_t pixels, rows;  // rows f are contiguous in a
  const T* dy;           // (pixels, vectors * lanes)
  int64_t vectors;
  T* dw;                               // (rows, vectors * lanes)
  bool accumulate = true;              // adds to dw; otherwise writes it
  Ahead<T> next_a = {}, next_dy = {};  // what will be needed after this panel
};

// Where packed element (k, s) of every column goes; s runs over `inner` positions stored side by side.
template <class T>
struct PanelSource {
  const T* data;
  int64_t columns, column_stride;      // y's columns, and the distance between two of them in data
  int64_t outer, outer_stride, inner;  // data[column * column_stride + k * outer_stride + s]
  const int64_t* position;             // (inner) packed row of s for k = 0, or -1: not part of this product
  int64_t step;                        // packed rows between k and k + 1
};

template <class T>
struct GemmKernels {
  int64_t lanes, max_vectors, plane_outputs, plane_slack;
  void (*taps_panel)(const TapsPanel<T>&);
  void (*planes_panel)(const PlanesPanel<T>&);
  void (*outer_panel)(const OuterPanel<T>&);
  // y[r * y_stride + o] = bias[o] + sum over k of x[r * k_size + k] * w[o * k_size + k]: a few rows against
  // rows of weights that are each used once, so packing them would cost more than the product. bias may be
  // null.
  void (*dot_block)(const T* x, int64_t rows, const T* w, int64_t columns, int64_t k_size, const T* bias,
                    T* y, int64_t y_stride);
  // Packs columns [first, first + vectors * lanes) of the source into b (packed rows, vectors * lanes).
  void (*pack_panel)(const PanelSource<T>&, int64_t first, int64_t vectors, T* b);
  // dst[c * dst_stride + r] = src[r * src_stride + c], r < rows, c < cols.
  void (*transpose)(const T* src, int64_t src_stride, T* dst, int64_t dst_stride, int64_t rows, int64_t cols);
  // y[r * y_stride + i] += x[r * x_stride + i], r < runs, i < size: runs that do not overlap.
  void (*add_runs)(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t runs, int64_t size);
};

NEOCOG_DECLARE_TABLES(GemmKernels, gemm_kernels)

// How `columns` output columns are cut into panels of about equal width.
struct PanelSplit {
  int64_t vectors, panels;  // in all
  constexpr PanelSplit(int64_t columns, int64_t lanes, int64_t max_vectors)
      : vectors(ceil_div(columns, lanes)), panels(ceil_div(vectors, max_vectors)) {}
  // First vector of panel i; panel `panels` starts at the end.
  constexpr int64_t begin(int64_t i) const { return vectors * i / panels; }
  constexpr int64_t width(int64_t i) const { return begin(i + 1) - begin(i); }
};

}  // namespace neocog
