// Batch normalisation: y = f((x - mean) / sqrt(var + eps) * weight + bias), one mean, variance, weight and
// bias per channel. x (N, C, pixels) with channels first or last in memory; mean and var are given
// (inference), or are those of the batch over N and pixels, var being biased (training). weight and bias may
// be null: one and zero. Batch sums are formed around a value of the channel itself, chunk by chunk around
// the chunk's own mean, and added up in float64: the variance is as exact for a mean of 1e4 as for 0. Same
// bits for any number of threads. Source: Ioffe & Szegedy, "Batch normalization", 2015, arXiv:1502.03167,
// algorithm 1; Chan, Golub & LeVeque, "Algorithms for computing the sample variance", 1983 (shifted data,
// chunks).
#pragma once

#include "core/image.h"
#include "core/isa.h"
#include "ops/elementwise/elementwise.h"

namespace neocog {

struct BatchNormGeometry {  // sizes only
  int64_t batch, channels, pixels;
  Layout layout;
};

// What a channel's values go through: y = f((x - center) * scale + shift), dx = dy * scale + (x - center) *
// slope + shift. Subtracting first loses nothing where x is close to the mean, however large both are.
template <class T>
struct BatchNormLine {
  T center, scale, slope, shift;
};

// The same for all channels, as arrays.
template <class T>
struct BatchNormLines {
  T *center, *scale, *slope, *shift;
};

// `run` kernels see `rows` runs of n values of one channel, `stride` apart; `columns` kernels see `rows` rows
// of `columns` values, those of one channel below each other. Sums are added to what is there. `stream`
// writes past the caches: the result's runs or rows are aligned to 64 bytes.
template <class T>
struct BatchNormKernels {
  // sums[0] += sum of x - pivot, sums[1] += sum of (x - pivot)^2.
  void (*run_moments)(const T* x, int64_t rows, int64_t stride, int64_t n, T pivot, double* sums);
  void (*columns_moments)(const T* x, int64_t rows, int64_t columns, const T* pivot, double* sums,
                          double* squares);
  // A part of moments.h, a few hundred values of each channel: a center near their mean, the sum of x -
  // center and that of (x - center)^2. `columns_part` sees rows of pixels of `columns` channels.
  void (*run_part)(const T* x, int64_t rows, int64_t stride, int64_t n, T* center, T* sum, T* square);
  void (*columns_part)(const T* x, int64_t rows, int64_t row_stride, int64_t pixels, int64_t pixel_stride,
                       int64_t columns, T* center, T* sum, T* square);
  void (*run_forward)(Activation f, T alpha, const BatchNormLine<T>& line, const T* x, int64_t rows,
                      int64_t stride, int64_t n, bool stream, T* y);
  void (*columns_forward)(Activation f, T alpha, const BatchNormLines<T>& lines, const T* x, int64_t rows,
                          int64_t columns, bool stream, T* y);
  // Backward, dy is that of f(z), z on the line `forward`: every kernel multiplies it by f'(z) first.
  // sums[0] += sum of dy, sums[1] += sum of dy * (x - center).
  void (*run_sums)(Activation f, T alpha, const BatchNormLine<T>& forward, const T* dy, const T* x,
                   int64_t rows, int64_t stride, int64_t n, double* sums);
  void (*columns_sums)(Activation f, T alpha, const BatchNormLines<T>& forward, const T* dy, const T* x,
                       int64_t rows, int64_t columns, double* sums, double* products);
  // Not `moving`: dx = dy * scale.
  void (*run_backward)(Activation f, T alpha, const BatchNormLine<T>& forward, const BatchNormLine<T>& line,
                       bool moving, const T* dy, const T* x, int64_t rows, int64_t stride, int64_t n,
                       bool stream, T* dx);
  void (*columns_backward)(Activation f, T alpha, const BatchNormLines<T>& forward,
                           const BatchNormLines<T>& lines, bool moving, const T* dy, const T* x, int64_t rows,
                           int64_t columns, bool stream, T* dx);
};

NEOCOG_DECLARE_TABLES(BatchNormKernels, batch_norm_kernels)

// Applies the activation f after the normalisation.
template <class T>
void batch_norm_inference(const BatchNormGeometry&, const T* x, const T* mean, const T* var, const T* weight,
                          const T* bias, double eps, Activation f, T alpha, T* y);

// Also writes the statistics of the batch; they are NaN where it is empty.
template <class T>
void batch_norm_training(const BatchNormGeometry&, const T* x, const T* weight, const T* bias, double eps,
                         Activation f, T alpha, T* y, T* mean, T* var);

// The second pass of training alone, with statistics that are known (moments.h): not rounded to T, for they
// go into y as exactly as those of batch_norm_training do.
template <class T>
void batch_norm_with_moments(const BatchNormGeometry&, const T* x, const double* mean, const double* var,
                             const T* weight, const T* bias, double eps, Activation f, T alpha, T* y);

// Gradients; training says that mean and var were those of the batch. The bias counts only for the
// activation, which is taken at values that are computed again. Any of dx, dweight and dbias may be null.
template <class T>
void batch_norm_backward(const BatchNormGeometry&, const T* dy, const T* x, const T* mean, const T* var,
                         const T* weight, const T* bias, double eps, Activation f, T alpha, bool training,
                         T* dx, T* dweight, T* dbias);

}  // namespace neocog
