// The inner loops of pool.h, one table per instruction set.
//   strips: rows are combined into one line, then the line's columns: contiguous vectors along a row of the
//   image.
//           For channels first, and for any layout with stride 1, where a column may be `unit` channels wide.
//   pixels: vectors along the channels of one output pixel, all taps at once. For channels last.
//   runs:   one contiguous run of memory is one window.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "ops/pool/pool.h"

namespace neocog {

// Indices travel in vectors of T as the bits of an integer of the same size: they are only ever selected and
// stored.
template <class T>
struct PoolBits;
template <>
struct PoolBits<float> {
  using Integer = int32_t;
};
template <>
struct PoolBits<double> {
  using Integer = int64_t;
};

// No index is this far off.
inline constexpr int64_t kNoPixel = INT64_MIN / 2;  // sums with places in an image do not overflow

// Rows of a strip of columns, side by side in a line: row r starts at line + r * pitch. Short rows fill whole
// vectors together.
template <class T>
struct PoolLine {
  T* line;
  int64_t pitch, group;  // elements per row, rows at once
  int64_t margin,
      width;  // where in its row what was read goes, and how much; around it stands what changes nothing
  // Taps of the first output; those of row r are r * tap_pitch further.
  const T* const* tap;
  int64_t taps, tap_pitch;
  // Where taps point if they are not contiguous in the line: (phases, phase_length). phase[p][i] = line[i *
  // phases + p], or, of irregular columns, phase[k][i] = line[gather[k * group * tap_pitch + i]].
  T* phase;
  int64_t phases, phase_length;  // a multiple of the lanes
  const int64_t* gather;         // null for regular columns
  bool halves;  // output column j has the columns 2j and 2j + 1 of what is read: no line is needed
};

// Which rows a strip combines, counted through planes that follow each other: row i of plane p has the taps
// rows[i].
template <class T>
struct PoolRows {
  const T* x;            // first element that the strip reads of row 0 of plane 0
  int64_t plane, row;    // elements between planes and rows
  const PoolSpan* rows;  // (count)
  int64_t count, step;   // rows of a plane; rows between taps
  int64_t begin, end;
};

template <class T>
struct PoolStrip {
  PoolRows<T> rows;
  PoolLine<T> line;
  T* y;                  // first element that the strip writes of row 0
  int64_t y_row, count;  // elements between rows; elements written of each
  T* result;             // (group * tap_pitch) scratch
  // Averages: divisors per row of a plane and per element of y; if all windows have the same it is `divisor`,
  // else that is 0, and `factor` is its inverse if that is exact, else 0.
  const T *row_divisor, *column_divisor;
  T divisor, factor;
};

// Also where a maximum lies.
template <class T>
struct PoolIndexedStrip : PoolStrip<T> {
  using Integer = typename PoolBits<T>::Integer;
  int64_t* index;  // as y
  const int64_t*
      start;  // (count) image column of tap 0, maybe in the padding; kNoPixel where no tap is in the image
  bool some_empty;              // some start is kNoPixel
  const Integer* tap_offset;    // (taps) columns between the start and the tap
  const Integer* first_offset;  // (group * tap_pitch + 2 * lanes) that of the first tap in the image
  T* offset;                    // (group * tap_pitch + 2 * lanes) scratch, as is `result` here
};

// Gradients of averages: rows are those of dx, their taps the rows of dy that cover them.
template <class T>
struct PoolSpreadStrip {
  PoolRows<T> rows;
  PoolLine<T> line;  // for regular columns `phases` are those of dx, and phase p sums tap[p * taps + k], k <
                     // tap_count[p]
  const int64_t* tap_count;
  T* y;
  int64_t y_row, count;
  T* result;                            // (group * tap_pitch * phases) scratch
  const T *row_weight, *column_weight;  // inverse divisors, per row of dy; per element read
};

// Output pixels [begin, end) of one row; x and y at the first of the `channels`, of row 0 of x, of the row of
// y.
template <class T>
struct PoolPixels {
  const T* x;
  int64_t x_row, x_column;  // elements between rows and columns
  PoolSpan rows;
  int64_t row_step;
  const PoolSpan* columns;
  int64_t column_step, begin, end, channels;
  T* y;
  int64_t y_column;
  int64_t* index;  // maxima: as y, or null
  int64_t width;   // columns of x, for indices
  // Averages: what the sum is divided by, row[0] * column[output column].
  // Spread averages: what every tap is multiplied by, row[its row] * column[its column].
  const T *row, *column;
};

// Windows as wide as the image: one run of memory for each row of y.
template <class T>
struct PoolRuns {
  PoolRows<T> rows;  // step 1
  T* y;
  int64_t* index;    // maxima: as y, or null
  const T* divisor;  // averages: per row of a plane
};

template <class T>
struct PoolKernels {
  int64_t lanes;
  void (*max_strip)(const PoolStrip<T>&);
  void (*indexed_max_strip)(const PoolIndexedStrip<T>&);
  void (*average_strip)(const PoolStrip<T>&);
  void (*spread_strip)(const PoolSpreadStrip<T>&);
  void (*spread_runs)(const PoolSpreadStrip<T>&);
  void (*max_pixels)(const PoolPixels<T>&);
  void (*average_pixels)(const PoolPixels<T>&);
  void (*spread_pixels)(const PoolPixels<T>&);
  void (*max_runs)(const PoolRuns<T>&);
  void (*average_runs)(const PoolRuns<T>&);
};

NEOCOG_DECLARE_TABLES(PoolKernels, pool_kernels)

}  // namespace neocog
