// What the schedules of a product over taps have in common.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "ops/conv/tap_conv.h"

namespace neocog {

struct Span {
  int64_t lo = 0, hi = 0;  // of tap offsets, both inclusive
};

inline Span span_of(const TapConvAxis& axis) {
  Span s{std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()};
  for (const TapPhaseAxis& phase : axis.phases) {
    for (const int64_t offset : phase.offset) s = {std::min(s.lo, offset), std::max(s.hi, offset)};
  }
  return s.lo > s.hi ? Span{0, 0} : s;
}

inline bool clamps(Activation f) {
  return f == Activation::kRelu || f == Activation::kRelu6;
}

// The height of tiles of about `height` positions that hold whole parts of the moments, `rows` high.
inline int64_t whole_parts(int64_t height, int64_t positions, int64_t rows) {
  return height >= positions ? positions : std::min(positions, std::max(rows, height / rows * rows));
}

// A clamp is applied to the sums while they are in registers; everything else to the stored results.
template <class T>
struct Finish {
  bool clamp, elementwise;
  bool rectangle;  // whether finish_rectangle has something to do
  T clamp_hi;
  explicit Finish(const Epilogue<T>& e)
      : clamp(e.residual == nullptr && clamps(e.activation)),
        elementwise(!clamp && (e.residual != nullptr || e.activation != Activation::kIdentity)),
        rectangle(elementwise || e.moments != nullptr),
        clamp_hi(e.activation == Activation::kRelu6 ? T(6) : std::numeric_limits<T>::infinity()) {}
};

// What is left to do where kernels add the residual themselves.
template <class T>
Epilogue<T> without_residual(Epilogue<T> epilogue) {
  epilogue.residual = nullptr;
  return epilogue;
}

// Which outputs of an axis no phase writes.
inline std::vector<char> untapped(const TapConvAxis& axis, int64_t size) {
  std::vector<char> none(static_cast<size_t>(size), axis.complete ? 0 : 1);
  for (const TapPhaseAxis& phase : axis.phases) {
    for (int64_t u = 0; u < phase.count; ++u) none[static_cast<size_t>(phase.start + u * axis.out_step)] = 0;
  }
  return none;
}

// Where phases leave outputs without a tap, y is its bias (or zero); the tiles write the rest.
template <class T>
void fill_untapped(const TapConvAxis& h, const TapConvAxis& w, const T* bias, const Finish<T>& finish,
                   const Image<T>& y) {
  if (h.complete && w.complete) return;
  std::vector<T> start(static_cast<size_t>(y.c), T(0));  // a pixel
  for (int64_t c = 0; c < y.c && bias != nullptr; ++c) {
    const T value = bias[c];
    start[c] = !finish.clamp             ? value
               : value < T(0)            ? T(0)
               : value > finish.clamp_hi ? finish.clamp_hi
                                         : value;
  }
  const std::vector<char> no_row = untapped(h, y.h), no_column = untapped(w, y.w);
  parallel_for(y.n * y.h, [&](int64_t item, int) {
    const int64_t n = item / y.h, row = item % y.h;
    for (int64_t begin = 0, end; begin < y.w; begin = end + 1) {  // runs of pixels without a tap
      while (begin < y.w && !no_row[row] && !no_column[begin]) ++begin;
      for (end = begin; end < y.w && (no_row[row] || no_column[end]);) ++end;
      if (!y.channels_last()) {
        for (int64_t c = 0; c < y.c; ++c) std::fill_n(y.at(n, c, row, begin), end - begin, start[c]);
      } else if (bias == nullptr && y.dense()) {
        std::fill_n(y.at(n, 0, row, begin), (end - begin) * y.c, T(0));
      } else {
        for (int64_t i = begin; i < end; ++i) std::copy_n(start.data(), y.c, y.at(n, 0, row, i));
      }
    }
  });
}

// Applies residual and activation to the rectangle of outputs that one item wrote, and takes its moments, if
// the kernel said how it cuts them (Moments::cut).
template <class T>
void finish_rectangle(const Epilogue<T>& epilogue, const Image<T>& y, int64_t n, int64_t channel,
                      int64_t channels, int64_t row0, int64_t row1, int64_t col0, int64_t col1) {
  const auto finish = [&](T* to, int64_t count) {
    const T* residual = epilogue.residual == nullptr ? nullptr : epilogue.residual + (to - y.data);
    elementwise_kernels<T>().epilogue(epilogue.activation, epilogue.alpha, residual, to, count);
  };
  const int64_t end = Finish<T>(epilogue).elementwise ? row1 : row0;
  for (int64_t row = row0; row < end; ++row) {
    if (!y.channels_last()) {
      for (int64_t c = 0; c < channels; ++c) finish(y.at(n, channel + c, row, col0), col1 - col0);
    } else if (channels == y.stride_w()) {
      finish(y.at(n, 0, row, col0), (col1 - col0) * channels);
    } else {
      for (int64_t col = col0; col < col1; ++col) finish(y.at(n, channel, row, col), channels);
    }
  }
  if (epilogue.moments != nullptr) {
    epilogue.moments->take(n, channel, channels, row0, row1, col0, col1);
  }
}

}  // namespace neocog
