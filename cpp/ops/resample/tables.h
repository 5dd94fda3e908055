// The tables of resample.h, owned: one axis's samples in the form that a kernel reads.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/resample/resample.h"

namespace neocog {

template <class T>
class PixelTableOf {
 public:
  explicit PixelTableOf(const std::vector<ResampleSample>& samples);
  PixelTable<T> view() const { return {index0_.data(), index1_.data(), weight0_.data(), weight1_.data()}; }

 private:
  std::vector<int64_t> index0_, index1_;
  std::vector<T> weight0_, weight1_;
};

// Rows of `in` pixels of `run` elements.
template <class T>
class LaneTableOf {
 public:
  LaneTableOf(const std::vector<ResampleSample>& samples, int64_t in, int64_t run,
              const ResampleKernels<T>& kernels);
  LaneTable<T> view() const {
    return {in_, index0_.data(), index1_.data(), weight0_.data(), weight1_.data(), window_.data()};
  }

 private:
  int64_t in_;
  std::vector<int32_t> index0_, index1_;
  std::vector<T> weight0_, weight1_;
  std::vector<Window> window_;
};

template <class T>
class PixelCopiesOf {
 public:
  PixelCopiesOf(const std::vector<ResampleSample>& samples, int64_t in);
  PixelCopies<T> view() const { return {first_.data(), index_.data(), weight_.data()}; }
  // The stretch of outputs that read the inputs [begin, end).
  struct Range {
    int64_t begin, end;
  };
  Range readers(int64_t begin, int64_t end) const;

 private:
  std::vector<int64_t> first_, index_;
  std::vector<T> weight_;
};

template <class T>
class LaneCopiesOf {
 public:
  // From `out` pixels of `run` elements back to `in` of them.
  LaneCopiesOf(const PixelCopies<T>& copies, int64_t in, int64_t out, int64_t run,
               const ResampleKernels<T>& kernels);
  LaneCopies<T> view() const { return {out_, first_.data(), index_.data(), weight_.data(), window_.data()}; }

 private:
  int64_t out_;
  std::vector<int64_t> first_;
  std::vector<int32_t> index_;
  std::vector<T> weight_;
  std::vector<Window> window_;
};

}  // namespace neocog
