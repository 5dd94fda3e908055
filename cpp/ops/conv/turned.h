// Channels-last copies of channels-first images, for methods that save more than turning costs.
#pragma once

#include "core/memory.h"
#include "ops/conv/tap_span.h"

namespace neocog {

// An image of the same shape, channels-last, in memory of its own.
template <class T>
class TurnedImage {
 public:
  explicit TurnedImage(const Image<const T>& like);
  ~TurnedImage() { release_block(block_); }
  TurnedImage(const TurnedImage&) = delete;
  TurnedImage& operator=(const TurnedImage&) = delete;

  const Image<T>& image() const { return image_; }
  void load(const Image<const T>& x);  // of either layout
  void store(const Image<T>& y) const;

 private:
  Block block_;
  Image<T> image_;
};

// For sums that do not lie as y does yet: a residual waits until they do, and so does what comes after it.
template <class T>
Epilogue<T> before_residual(const Epilogue<T>& epilogue) {
  Epilogue<T> before;
  before.bias = epilogue.bias;
  if (epilogue.residual == nullptr) {
    before.activation = epilogue.activation;
    before.alpha = epilogue.alpha;
  }
  return before;
}
template <class T>
void finish_residual(const Epilogue<T>& epilogue, const Image<T>& y) {
  if (epilogue.residual == nullptr) return;
  Epilogue<T> after = epilogue;
  after.moments = nullptr;
  parallel_for(y.n * y.c, [&](int64_t item, int) {
    finish_rectangle(after, y, item / y.c, item % y.c, 1, 0, y.h, 0, y.w);
  });
}

// f(x, epilogue, y) with all images channels-last.
template <class T, class F>
void conv_turned(const Image<const T>& x, const Epilogue<T>& epilogue, const Image<T>& y, F&& f) {
  TurnedImage<T> x_turned(x), y_turned(y);
  x_turned.load(x);
  f(Image<const T>(x_turned.image()), before_residual(epilogue), y_turned.image());
  y_turned.store(y);
  finish_residual(epilogue, y);
}

// f(x, dy), likewise.
template <class T, class F>
void gradient_turned(const Image<const T>& x, const Image<const T>& dy, F&& f) {
  TurnedImage<T> x_turned(x), dy_turned(dy);
  x_turned.load(x);
  dy_turned.load(dy);
  f(Image<const T>(x_turned.image()), Image<const T>(dy_turned.image()));
}

}  // namespace neocog
