#include "ops/resample/tables.h"

#include <algorithm>

#include "core/window.h"

namespace neocog {
namespace {

// The registers that hold inputs `lowest` to `highest` of a row of n; lanes = 0: they are not to be looked
// up.
Window window_of(int64_t lowest, int64_t highest, int64_t n, int64_t lanes) {
  for (const int registers : {1, 2}) {
    // A window that ends with the row is loaded whole; only rows shorter than it are loaded in part.
    const int64_t start = max64(0, min64(lowest, n - registers * lanes));
    if (highest - start < registers * lanes) return {start, registers};
  }
  return {0, 0};
}

}  // namespace

template <class T>
PixelTableOf<T>::PixelTableOf(const std::vector<ResampleSample>& samples) {
  for (const ResampleSample& sample : samples) {
    index0_.push_back(sample.index0);
    index1_.push_back(sample.index1);
    weight0_.push_back(static_cast<T>(1.0 - sample.fraction));
    weight1_.push_back(static_cast<T>(sample.fraction));
  }
}

template <class T>
LaneTableOf<T>::LaneTableOf(const std::vector<ResampleSample>& samples, int64_t in, int64_t run,
                            const ResampleKernels<T>& kernels)
    : in_(in * run) {
  const int64_t lanes = kernels.lanes, out = static_cast<int64_t>(samples.size()) * run,
                padded = round_up(out, lanes);
  for (int64_t o = 0; o < padded; ++o) {
    // The last group is filled up with a copy of the last output, which fits any window that output fits.
    const int64_t element = min64(o, out - 1);
    const ResampleSample& sample = samples[static_cast<size_t>(element / run)];
    index0_.push_back(static_cast<int32_t>(sample.index0 * run + element % run));
    index1_.push_back(static_cast<int32_t>(sample.index1 * run + element % run));
    weight0_.push_back(static_cast<T>(1.0 - sample.fraction));
    weight1_.push_back(static_cast<T>(sample.fraction));
  }
  for (int64_t o = 0; o < padded; o += lanes) {
    int32_t *const group0 = index0_.data() + o, *const group1 = index1_.data() + o;
    const int64_t lowest = *std::min_element(group0, group0 + lanes);  // index1 >= index0
    const int64_t highest = *std::max_element(group1, group1 + lanes);
    const Window window = window_of(lowest, highest, in_, kernels.windows ? lanes : 0);
    window_.push_back(window);
    for (int64_t i = 0; i < lanes; ++i) {
      group0[i] -= static_cast<int32_t>(window.start);
      group1[i] -= static_cast<int32_t>(window.start);
    }
  }
}

template <class T>
PixelCopiesOf<T>::PixelCopiesOf(const std::vector<ResampleSample>& samples, int64_t in)
    : first_(static_cast<size_t>(in) + 1, 0) {
  const auto one_input = [](const ResampleSample& sample) { return sample.index0 == sample.index1; };
  for (const ResampleSample& sample : samples) {
    ++first_[static_cast<size_t>(sample.index0) + 1];
    if (!one_input(sample)) ++first_[static_cast<size_t>(sample.index1) + 1];
  }
  for (size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
  std::vector<int64_t> next(first_.begin(), first_.end() - 1);
  index_.resize(static_cast<size_t>(first_.back()));
  weight_.resize(index_.size());
  const auto add = [&](int64_t input, int64_t output, double weight) {
    const size_t place = static_cast<size_t>(next[static_cast<size_t>(input)]++);
    index_[place] = output;
    weight_[place] = static_cast<T>(weight);
  };
  for (size_t o = 0; o < samples.size(); ++o) {
    const ResampleSample& sample = samples[o];
    const int64_t output = static_cast<int64_t>(o);
    if (one_input(sample)) {
      add(sample.index0, output, 1.0);
    } else {
      add(sample.index0, output, 1.0 - sample.fraction);
      add(sample.index1, output, sample.fraction);
    }
  }
}

template <class T>
typename PixelCopiesOf<T>::Range PixelCopiesOf<T>::readers(int64_t begin, int64_t end) const {
  const int64_t low = first_[static_cast<size_t>(begin)], high = first_[static_cast<size_t>(end)];
  if (low == high) return {0, 0};
  // Positions do not decrease with the output, so the first input's first reader and the last one's last
  // bound them.
  return {index_[static_cast<size_t>(low)], index_[static_cast<size_t>(high - 1)] + 1};
}

template <class T>
LaneCopiesOf<T>::LaneCopiesOf(const PixelCopies<T>& copies, int64_t in, int64_t out, int64_t run,
                              const ResampleKernels<T>& kernels)
    : out_(out * run), first_{0} {
  const int64_t elements = in * run, lanes = kernels.lanes;
  for (int64_t begin = 0; begin < elements; begin += lanes) {
    const int64_t end = min64(elements, begin + lanes);
    int64_t taps = 0;
    for (int64_t e = begin; e < end; ++e)
      taps = max64(taps, copies.first[e / run + 1] - copies.first[e / run]);
    for (int64_t k = 0; k < taps; ++k) {
      const size_t tap = index_.size();
      int64_t lowest = out_, highest = 0;
      for (int64_t e = begin; e < begin + lanes; ++e) {
        const int64_t at = e < end ? copies.first[e / run] + k : 0;
        const bool exists = e < end && at < copies.first[e / run + 1];
        const int64_t index = exists ? copies.index[at] * run + e % run : -1;
        index_.push_back(static_cast<int32_t>(index));
        weight_.push_back(exists ? copies.weight[at] : T{0});
        if (!exists) continue;
        lowest = min64(lowest, index);
        highest = max64(highest, index);
      }
      const Window window = window_of(lowest, highest, out_, kernels.windows ? lanes : 0);
      window_.push_back(window);
      for (size_t lane = tap; lane < index_.size(); ++lane) {
        if (index_[lane] >= 0) index_[lane] -= static_cast<int32_t>(window.start);
      }
    }
    first_.push_back(first_.back() + taps);
  }
}

#define NEOCOG_INSTANTIATE(T)      \
  template class PixelTableOf<T>;  \
  template class LaneTableOf<T>;   \
  template class PixelCopiesOf<T>; \
  template class LaneCopiesOf<T>;
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
