#include "ops/conv/turned.h"

#include "ops/rearrange/copy_strided.h"

namespace neocog {

template <class T>
TurnedImage<T>::TurnedImage(const Image<const T>& like)
    : block_(acquire_block(static_cast<size_t>(like.size()) * sizeof(T))),
      image_{reinterpret_cast<T*>(block_.data), like.n, like.c, like.h, like.w, Layout::kChannelsLast} {}

template <class T>
void TurnedImage<T>::load(const Image<const T>& x) {
  copy_strided<T>({{x.n, x.stride_n(), image_.stride_n()},
                   {x.c, x.stride_c(), image_.stride_c()},
                   {x.h, x.stride_h(), image_.stride_h()},
                   {x.w, x.stride_w(), image_.stride_w()}},
                  x.data, image_.data);
}

template <class T>
void TurnedImage<T>::store(const Image<T>& y) const {
  copy_strided<T>({{y.n, image_.stride_n(), y.stride_n()},
                   {y.c, image_.stride_c(), y.stride_c()},
                   {y.h, image_.stride_h(), y.stride_h()},
                   {y.w, image_.stride_w(), y.stride_w()}},
                  image_.data, y.data);
}

template class TurnedImage<float>;
template class TurnedImage<double>;

}  // namespace neocog
