#include "ops/depthwise/depthwise.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/conv_axis.h"
#include "ops/conv/tap_span.h"
#include "ops/depthwise/depthwise_blocks.h"
#include "ops/depthwise/plane_strip.h"
#include "ops/depthwise/row_job.h"

namespace neocog {
namespace {

// Output rows of one work item. Neighbouring items read the rows between them twice: few of its own. A
// multiple of kMostRows.
constexpr int64_t kItemRows = 8;
int64_t item_rows_of(int64_t span, int64_t positions) {
  const int64_t most = std::max(kItemRows, round_up(4 * span, kMostRows));
  return round_up(ceil_div(positions, ceil_div(positions, most)), kMostRows);
}

// Everything the work items share.
template <class T>
struct DepthwiseJob {
  const TapConvAxis &h, &w;
  Image<const T> x;
  Image<T> y;
  Epilogue<T> epilogue;
  WeightRole role;
  int64_t channels, multiplier;  // kernels, kernels per channel of the side that has fewer
  const T* packed;               // per phase: as DepthwiseRows or DepthwisePlaneRows has them
  std::vector<int64_t> packed_offset;
  const T* zeros;  // a row of padding
  bool clamp;
  T clamp_hi;
  bool stream;  // channels-last y is not read again here, and large

  bool expands() const { return multiplier > 1 && role == WeightRole::kForward; }
  bool reduces() const { return multiplier > 1 && role == WeightRole::kTransposed; }
  // The bias belongs to the sums over one kernel's taps only if no further channels are added to them.
  const T* kernel_bias() const { return reduces() ? nullptr : epilogue.bias; }
  bool finishes() const {
    return !clamp && (epilogue.residual != nullptr || epilogue.activation != Activation::kIdentity);
  }
};

template <class T>
void finish_run(const DepthwiseJob<T>& job, T* y, int64_t count) {
  const T* residual = job.epilogue.residual == nullptr ? nullptr : job.epilogue.residual + (y - job.y.data);
  elementwise_kernels<T>().epilogue(job.epilogue.activation, job.epilogue.alpha, residual, y, count);
}

// Channels-last: output rows [begin, end) of one pair of phases, counted in positions of the height phase.
template <class T>
void channels_last_rows(const DepthwiseJob<T>& job, const TapPhaseAxis& ph, const TapPhaseAxis& pw,
                        const T* weight, int64_t n, int64_t begin, int64_t end, int64_t col0, int64_t col1,
                        T* expanded, T* unreduced) {
  const TapReach reach = reach_of(ph);
  const int64_t step = job.h.in_step, row_size = job.x.w * job.channels;
  const int64_t first_row = begin * step + reach.lo;
  if (job.expands()) {
    const int64_t last_row = (end - 1) * step + reach.hi;
    for (int64_t row = std::max<int64_t>(0, first_row); row <= std::min(last_row, job.x.h - 1); ++row) {
      expand_row(job.x.at(n, 0, row, 0), job.x.w * job.x.c, job.multiplier,
                 expanded + (row - first_row) * row_size);
    }
  }
  const auto row_of = [&](int64_t row) -> const T* {
    if (row < 0 || row >= job.x.h) return nullptr;
    return job.expands() ? expanded + (row - first_row) * row_size : job.x.at(n, 0, row, 0);
  };
  const auto y_of = [&](int64_t u) { return job.y.at(n, 0, ph.start + u * job.h.out_step, pw.start); };
  const RowJob<T> rows{ph,        pw,
                       step,      job.w.in_step,
                       job.x.w,   job.channels,
                       weight,    job.kernel_bias(),
                       job.zeros, job.reduces() ? job.channels : job.w.out_step * job.y.c,
                       job.clamp, job.clamp_hi,
                       job.stream};
  if (!job.reduces()) {
    run_rows(rows, begin, end, col0, col1, row_of, y_of);
    return;
  }
  for (int64_t u = begin; u < end; ++u) {  // several kernels per channel: their results add up
    run_rows(rows, u, u + 1, col0, col1, row_of, [&](int64_t) { return unreduced; });
    T* y = y_of(u) + col0 * job.w.out_step * job.y.c;
    const T* from = unreduced + col0 * job.channels;
    for (int64_t q = col0; q < col1; ++q, y += job.w.out_step * job.y.c) {
      for (int64_t c = 0; c < job.y.c; ++c) {
        T sum = job.epilogue.bias == nullptr ? T(0) : job.epilogue.bias[c];
        for (int64_t m = 0; m < job.multiplier; ++m) sum += *from++;
        y[c] = sum;
      }
    }
  }
}

// Channels-first: output rows [begin, end) of one plane and one pair of phases.
template <class T>
void plane_rows(const DepthwiseJob<T>& job, const TapPhaseAxis& ph, const TapPhaseAxis& pw, const T* packed,
                int64_t n, int64_t channel, int64_t begin, int64_t end, T* strip_data, T* y_row) {
  const DepthwiseKernels<T>& kernels = depthwise_kernels<T>();
  const TapReach reach_h = reach_of(ph);
  const PlaneStrip strip(job.w, reach_of(pw), pw.count, 4 * kernels.lanes);
  const int64_t taps_h = static_cast<int64_t>(ph.offset.size()),
                taps_w = static_cast<int64_t>(pw.offset.size());
  const int64_t first_row = begin * job.h.in_step + reach_h.lo;
  const int64_t last_row = (end - 1) * job.h.in_step + reach_h.hi;
  std::vector<int64_t> columns(taps_w);
  for (int64_t s = 0; s < taps_w; ++s) columns[s] = strip.column(pw.offset[s]);
  std::vector<const T*> rows(taps_h + 1);
  const bool pairs = job.h.in_step == 1 && job.w.out_step == 1 && consecutive(ph);
  const int64_t kernels_here = job.reduces() ? job.multiplier : 1;
  for (int64_t m = 0; m < kernels_here; ++m) {
    const int64_t kernel = job.reduces() ? channel * job.multiplier + m : channel;
    const int64_t x_channel = job.expands() ? channel / job.multiplier : kernel;
    for (int64_t row = first_row; row <= last_row; ++row) {
      T* to = strip_data + (row - first_row) * strip.pitch;
      if (row < 0 || row >= job.x.h) {
        std::fill_n(to, strip.pitch, T(0));
      } else {
        strip.load(job.x.at(n, x_channel, row, 0), job.x.w, to);
      }
    }
    for (int64_t u = begin; u < end;) {
      const bool pair = pairs && u + 1 < end;
      for (int64_t t = 0; t < taps_h; ++t) {
        rows[t] = strip_data + (u * job.h.in_step + ph.offset[t] - first_row) * strip.pitch;
      }
      if (pair) rows[taps_h] = rows[taps_h - 1] + strip.pitch;
      T* const y0 = job.y.at(n, channel, ph.start + u * job.h.out_step, pw.start);
      const bool scatter = job.w.out_step > 1;
      DepthwisePlaneRows<T> g{rows.data(),
                              taps_h,
                              taps_w,
                              columns.data(),
                              packed + kernel * taps_h * taps_w,
                              job.epilogue.bias == nullptr ? T(0) : job.epilogue.bias[channel],
                              {scatter ? y_row : y0, pair ? y0 + job.h.out_step * job.y.w : nullptr},
                              pw.count,
                              m > 0,
                              job.clamp && m + 1 == kernels_here,
                              T(0),
                              job.clamp_hi};
      if (scatter && m > 0) {
        for (int64_t q = 0; q < pw.count; ++q) y_row[q] = y0[q * job.w.out_step];
      }
      pair ? kernels.plane_row_pair(g) : kernels.plane_row(g);
      if (scatter) {
        for (int64_t q = 0; q < pw.count; ++q) y0[q * job.w.out_step] = y_row[q];
      }
      u += pair ? 2 : 1;
    }
  }
}

// Weights (kernel, r, s) of one pair of phases, in the same order without the taps of the others.
template <class T>
void pack_plane_weight(const TapPhaseAxis& ph, const TapPhaseAxis& pw, const T* weight, int64_t channels,
                       int64_t kernel_h, int64_t kernel_w, T* to) {
  for (int64_t c = 0; c < channels; ++c, weight += kernel_h * kernel_w) {
    for (const int64_t r : ph.kernel) {
      for (const int64_t s : pw.kernel) *to++ = weight[r * kernel_w + s];
    }
  }
}

template <class T>
void depthwise_taps(const TapConvAxis& h, const TapConvAxis& w, Image<const T> x,
                    std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w,
                    WeightRole role, const Epilogue<T>& epilogue, Image<T> y) {
  if (y.size() == 0) return;
  if (h.complete && w.complete) {
    const Span span = span_of(h);
    const BlockRows cut = depthwise_block_rows<T>(h, span.hi - span.lo + 1, x, y);
    if (cut.rows > 0) {
      depthwise_blocks(cut, h, w, x, weight.data, kernel_h, kernel_w, epilogue, y);
      return;
    }
  }
  const DepthwiseKernels<T>& kernels = depthwise_kernels<T>();
  const bool last = y.channels_last();
  const int64_t channels = std::max(x.c, y.c), multiplier = channels / std::min(x.c, y.c);
  const bool clamps = epilogue.residual == nullptr &&
                      (epilogue.activation == Activation::kRelu || epilogue.activation == Activation::kRelu6);
  DepthwiseJob<T> job{h,
                      w,
                      x,
                      y,
                      epilogue,
                      role,
                      channels,
                      multiplier,
                      nullptr,
                      {},
                      nullptr,
                      clamps,
                      epilogue.activation == Activation::kRelu6 ? T(6) : std::numeric_limits<T>::infinity(),
                      false};
  // A clamp cannot go into sums that are still to be added up.
  if (job.reduces() && last) job.clamp = false;

  int64_t packed = 0, span = 0, strip_size = 0;
  for (const TapPhaseAxis& ph : h.phases) {
    span = std::max(span, reach_of(ph).hi - reach_of(ph).lo + 1);
    for (const TapPhaseAxis& pw : w.phases) {
      job.packed_offset.push_back(packed);
      packed += rows_weight_size<T>(ph, pw, channels);
    }
  }
  const int64_t positions_h = h.positions, positions_w = w.positions;
  int64_t item_rows = std::min(
      positions_h, last ? item_rows_of(span, positions_h) : std::max<int64_t>(kItemRows, 8192 / positions_w));
  // A single long row (one dimension) is cut along its length.
  const int64_t col_items =
      last && !job.expands() && w.phases.size() == 1 && x.n * ceil_div(positions_h, item_rows) < 16
          ? std::min<int64_t>(16, ceil_div(positions_w, 64))
          : 1;
  const int64_t item_cols = ceil_div(positions_w, col_items);
  if (epilogue.moments != nullptr) {
    const int64_t parts = epilogue.moments->cut(y, item_cols * w.out_step);
    item_rows = whole_parts(item_rows, positions_h, parts);
  }
  const int64_t row_items = ceil_div(positions_h, item_rows);
  const int64_t strip_rows = (item_rows - 1) * h.in_step + span;
  if (!last) {
    for (const TapPhaseAxis& pw : w.phases) {
      strip_size =
          std::max(strip_size, strip_rows * PlaneStrip(w, reach_of(pw), pw.count, 4 * kernels.lanes).pitch);
    }
  } else if (job.expands()) {
    strip_size = strip_rows * x.w * channels;
  }
  const int64_t row_size = !last           ? positions_w + 4 * kernels.lanes
                           : job.reduces() ? positions_w * channels
                                           : 0;
  const int64_t items = x.n * row_items * (last ? col_items : y.c);
  const int threads = threads_for(items);
  const int64_t zeros = last ? x.w * channels : 0;

  Scratch scratch(Scratch::bytes_of<T>(weight.scratch(packed)) + Scratch::bytes_of<T>(zeros) +
                  threads * (Scratch::bytes_of<T>(strip_size) + Scratch::bytes_of<T>(row_size)));
  T* const zero_row = scratch.take<T>(zeros);
  std::fill_n(zero_row, zeros, T(0));
  std::vector<T*> strips(threads), row_buffers(threads);
  for (int t = 0; t < threads; ++t) {
    strips[t] = scratch.take<T>(strip_size);
    row_buffers[t] = scratch.take<T>(row_size);
  }
  KeptWeights::Key key{kRows, kernels.lanes, last, static_cast<int64_t>(role)};
  for (const TapConvAxis* axis : {&h, &w}) {
    for (const TapPhaseAxis& part : axis->phases) {
      key.push_back(static_cast<int64_t>(part.kernel.size()));
      key.insert(key.end(), part.kernel.begin(), part.kernel.end());
    }
  }
  const T* const packed_data = weight.form(key, packed, scratch, [&](T* rows) {
    size_t phase = 0;
    for (const TapPhaseAxis& ph : h.phases) {
      for (const TapPhaseAxis& pw : w.phases) {
        T* const to = rows + job.packed_offset[phase++];
        if (last) {
          pack_rows_weight(ph, pw, weight.data, channels, kernel_h, kernel_w, to);
        } else {
          pack_plane_weight(ph, pw, weight.data, channels, kernel_h, kernel_w, to);
        }
      }
    }
  });
  job.packed = packed_data;
  Finish<T> fill(epilogue);
  fill.clamp = job.clamp;
  fill_untapped(h, w, epilogue.bias, fill, y);
  job.zeros = zero_row;

  const bool finish = last && job.reduces()
                          ? epilogue.residual != nullptr || epilogue.activation != Activation::kIdentity
                          : job.finishes();
  job.stream = last && !job.reduces() && !finish && epilogue.moments == nullptr && streams_rows(y);
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const int64_t inner = last ? col_items : y.c;
    const int64_t part = item % inner, row_item = item / inner % row_items, n = item / inner / row_items;
    const int64_t u0 = row_item * item_rows;
    size_t index = 0;
    for (const TapPhaseAxis& ph : h.phases) {
      const int64_t u1 = std::min(u0 + item_rows, ph.count);
      for (const TapPhaseAxis& pw : w.phases) {
        const T* phase_weight = packed_data + job.packed_offset[index++];
        if (u0 >= u1 || pw.count <= 0) continue;
        if (last) {
          channels_last_rows(job, ph, pw, phase_weight, n, u0, u1, std::min(pw.count, part * item_cols),
                             std::min(pw.count, (part + 1) * item_cols), strips[thread], row_buffers[thread]);
        } else {
          plane_rows(job, ph, pw, phase_weight, n, part, u0, u1, strips[thread], row_buffers[thread]);
        }
      }
    }
    if (!finish && epilogue.moments == nullptr) return;
    const int64_t channel = last ? 0 : part, channels_here = last ? y.c : 1;
    const int64_t row0 = u0 * h.out_step, row1 = std::min((u0 + item_rows) * h.out_step, y.h);
    const int64_t col0 = last ? std::min(part * item_cols * w.out_step, y.w) : 0;
    const int64_t col1 = last ? std::min((part + 1) * item_cols * w.out_step, y.w) : y.w;
    if (finish && !last) {
      finish_run(job, y.at(n, part, row0, 0), (row1 - row0) * y.w);
    } else if (finish) {
      for (int64_t row = row0; row < row1; ++row) finish_run(job, y.at(n, 0, row, col0), (col1 - col0) * y.c);
    }
    if (epilogue.moments != nullptr) {
      epilogue.moments->take(n, channel, channels_here, row0, row1, col0, col1);
    }
  });
}

}  // namespace

template <class T>
void depthwise_forward(const ConvGeometry& g, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                       const Epilogue<T>& epilogue, Image<T> y) {
  depthwise_taps(forward_axis(g.h), forward_axis(g.w), x, weight, g.h.kernel, g.w.kernel,
                 WeightRole::kForward, epilogue, y);
}

template <class T>
void depthwise_transposed(const ConvGeometry& g, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                          const Epilogue<T>& epilogue, Image<T> y) {
  depthwise_taps(transposed_axis(g.h), transposed_axis(g.w), x, weight, g.h.kernel, g.w.kernel,
                 WeightRole::kTransposed, epilogue, y);
}

#define NEOCOG_INSTANTIATE(T)                                                                               \
  template void depthwise_forward<T>(const ConvGeometry&, Image<const T>, std::type_identity_t<Weights<T>>, \
                                     const Epilogue<T>&, Image<T>);                                         \
  template void depthwise_transposed<T>(const ConvGeometry&, Image<const T>,                                \
                                        std::type_identity_t<Weights<T>>, const Epilogue<T>&, Image<T>);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
