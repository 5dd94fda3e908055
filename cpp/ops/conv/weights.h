// Weights of a convolution: where they lie, and what kernels made of them if they stay the same.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "core/parallel.h"
#include "core/scratch.h"

namespace neocog {

// Packed panels, transformed kernels and copies of weights that nobody writes to, kept from call to call.
// Each form is made once, by the first call that needs it; thread-safe.
class KeptWeights {
 public:
  // Says which kernel made a form, and all that it depends on besides the weights.
  using Key = std::vector<int64_t>;

  KeptWeights() = default;
  KeptWeights(const KeptWeights&) = delete;
  ~KeptWeights() {
    for (const Form& form : forms_) release_block(form.block);
  }

  // `count` elements; make(T*) writes them.
  template <class T, class Make>
  const T* get(const Key& key, int64_t count, const Make& make) {
    const std::lock_guard lock(mutex_);
    for (const Form& form : forms_) {
      if (form.key == key) return reinterpret_cast<const T*>(form.block.data);
    }
    forms_.push_back({key, acquire_block(static_cast<size_t>(count < 1 ? 1 : count) * sizeof(T))});
    T* const to = reinterpret_cast<T*>(forms_.back().block.data);
    const Idle working(false);
    make(to);
    return to;
  }
  // What is kept of the same weights in another form, which has forms of its own.
  KeptWeights* of(const Key& key) {
    const std::lock_guard lock(mutex_);
    for (const auto& [other, weights] : others_) {
      if (other == key) return weights.get();
    }
    return others_.emplace_back(key, std::make_unique<KeptWeights>()).second.get();
  }
  size_t bytes() const {
    const std::lock_guard lock(mutex_);
    size_t sum = 0;
    for (const Form& form : forms_) sum += form.block.size;
    for (const auto& [key, weights] : others_) sum += weights->bytes();
    return sum;
  }

 private:
  struct Form {
    Key key;
    Block block;
  };
  mutable std::mutex mutex_;
  std::vector<Form> forms_;
  std::vector<std::pair<Key, std::unique_ptr<KeptWeights>>> others_;
};

// The kernels that keep something: the first number of a key.
enum KeptForm : int64_t {
  kTapPanels,
  kFarTaps,
  kPlanes,
  kCol2im,
  kNarrowGroups,
  kWinogradKernels,
  kWinogradTaps,
  kWinogradGroups,
  kRows,
  kColumns,
  kCopies,
  kBf16Panels,
  kSpaceToDepth,
  kTapParts
};

template <class T>
struct Weights {
  const T* data;
  KeptWeights* kept = nullptr;

  Weights(const T* weights, KeptWeights* forms = nullptr) : data(weights), kept(forms) {}  // NOLINT: they are

  // Elements of scratch memory for a form of `count` elements.
  int64_t scratch(int64_t count) const { return kept == nullptr ? count : 0; }
  // That form, of elements of type E: the kept one, or made by make(E*) in scratch memory.
  template <class E = T, class Make>
  const E* form(const KeptWeights::Key& key, int64_t count, Scratch& memory, const Make& make) const {
    if (kept != nullptr) return kept->get<E>(key, count, make);
    E* const to = memory.take<E>(count);
    make(to);
    return to;
  }
};

}  // namespace neocog
