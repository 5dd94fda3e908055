// Weights whose channels come last, (O, R, S, I), as torch keeps those of channels-last models, to (O, I, R,
// S), the order of every kernel here, and back. Copies: no arithmetic.
#pragma once

#include <cstdint>

namespace neocog {

template <class T>
void weight_channels_first(int64_t out_channels, int64_t in_channels, int64_t taps, const T* from, T* to);
template <class T>
void weight_channels_last(int64_t out_channels, int64_t in_channels, int64_t taps, const T* from, T* to);

}  // namespace neocog
