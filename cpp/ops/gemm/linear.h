// The fully connected layer.
#pragma once

#include "ops/conv/weights.h"
#include "ops/elementwise/elementwise.h"

namespace neocog {

// y = f(x weight^T + bias): x (rows, in), weight (out, in), bias (out) or null, y (rows, out), all row-major.
template <class T>
void linear_forward(int64_t rows, int64_t in, int64_t out, const T* x, const T* weight, const T* bias, T* y);
// With weights that may be kept packed from call to call.
template <class T>
void linear_forward(int64_t rows, int64_t in, int64_t out, const T* x, const Weights<T>& weight,
                    const T* bias, Activation f, T alpha, T* y);
// dx = dy weight.
template <class T>
void linear_backward_x(int64_t rows, int64_t in, int64_t out, const T* dy, const T* weight, T* dx);
// dw = dy^T x, the same bits for any number of threads.
template <class T>
void linear_backward_weight(int64_t rows, int64_t in, int64_t out, const T* dy, const T* x, T* dw);

}  // namespace neocog
