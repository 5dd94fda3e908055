#include "ops/batch_norm/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/batch_norm/plan.h"

namespace neocog {
namespace {

template <class T>
double value_or(const T* values, int64_t c, double otherwise) {
  return values == nullptr ? otherwise : static_cast<double>(values[c]);
}

// The line y = (x - mean) * scale + bias; what the rounded center lacks of the mean goes into the shift.
template <class T>
void set_forward_line(const BatchNormLines<T>& lines, int64_t c, double mean, double var, const T* weight,
                      const T* bias, double eps) {
  const double scale = value_or(weight, c, 1) / std::sqrt(var + eps);
  lines.center[c] = static_cast<T>(mean);
  const double rest = static_cast<double>(lines.center[c]) - mean;
  lines.scale[c] = static_cast<T>(scale);
  lines.shift[c] = static_cast<T>(value_or(bias, c, 0) + (rest == 0 ? 0 : rest * scale));
}

template <class T>
void apply_run(const Plan& plan, const Workspace<T>& space, Activation f, T alpha, const T* x, bool stream,
               T* y, int64_t channel, int64_t split) {
  plan.each_chunk(channel, split, [&](int64_t at, int64_t rows, int64_t n) {
    batch_norm_kernels<T>().run_forward(f, alpha, space.line(channel), x + at, rows, plan.stride(), n, stream,
                                        y + at);
  });
}

template <class T>
void apply_columns(const Plan& plan, const Workspace<T>& space, Activation f, T alpha, const T* x,
                   bool stream, T* y, int64_t split) {
  plan.block(split, [&](int64_t at, int64_t rows, int64_t n) {
    batch_norm_kernels<T>().columns_forward(f, alpha, space.lines, x + at, rows, n, stream, y + at);
  });
}

bool empty(const BatchNormGeometry& g) {
  return g.batch == 0 || g.channels == 0 || g.pixels == 0;
}

// One pass with the statistics that are given, of type S.
template <class T, class S>
void normalize(const BatchNormGeometry& geometry, const T* x, const S* mean, const S* var, const T* weight,
               const T* bias, double eps, Activation f, T alpha, T* y) {
  if (empty(geometry)) return;
  const Plan plan(geometry);
  Scratch scratch(Workspace<T>::bytes(plan));
  const Workspace<T> space(plan, scratch);
  for (int64_t c = 0; c < plan.g.channels; ++c) {
    set_forward_line(space.lines, c, mean[c], var[c], weight, bias, eps);
  }
  space.repeat(plan);
  const bool stream = x != y && plan.streams(y);
  if (plan.columns) {
    // Backwards: of an image that was just written, the last rows are still cached.
    parallel_for(plan.splits, [&](int64_t split, int) {
      apply_columns(plan, space, f, alpha, x, stream, y, plan.splits - 1 - split);
    });
    return;
  }
  by_channel(
      plan, space.sums, 0, [](int64_t, int64_t) {}, [](int64_t, double, double) {},
      [&](int64_t c, int64_t split) { apply_run(plan, space, f, alpha, x, stream, y, c, split); });
}

}  // namespace

template <class T>
void batch_norm_inference(const BatchNormGeometry& geometry, const T* x, const T* mean, const T* var,
                          const T* weight, const T* bias, double eps, Activation f, T alpha, T* y) {
  normalize(geometry, x, mean, var, weight, bias, eps, f, alpha, y);
}

template <class T>
void batch_norm_with_moments(const BatchNormGeometry& geometry, const T* x, const double* mean,
                             const double* var, const T* weight, const T* bias, double eps, Activation f,
                             T alpha, T* y) {
  normalize(geometry, x, mean, var, weight, bias, eps, f, alpha, y);
}

template <class T>
void batch_norm_training(const BatchNormGeometry& geometry, const T* x, const T* weight, const T* bias,
                         double eps, Activation f, T alpha, T* y, T* mean, T* var) {
  if (empty(geometry)) {
    std::fill_n(mean, geometry.channels, std::numeric_limits<T>::quiet_NaN());
    std::fill_n(var, geometry.channels, std::numeric_limits<T>::quiet_NaN());
    return;
  }
  const Plan plan(geometry);
  const BatchNormKernels<T>& kernels = batch_norm_kernels<T>();
  Scratch scratch(Workspace<T>::bytes(plan));
  const Workspace<T> space(plan, scratch);
  // Sums around a value of the channel lose at most a factor of the number of values, whatever the data.
  const int64_t step = plan.columns ? 1 : plan.g.pixels;
  for (int64_t c = 0; c < plan.g.channels; ++c)
    space.pivot[c] = std::isfinite(x[c * step]) ? x[c * step] : T(0);
  space.repeat(plan);
  const auto finish = [&](int64_t c, double sum, double square) {
    const double offset = sum / plan.count();
    const double exact_mean = space.pivot[c] + offset;
    const double spread = square / plan.count() - offset * offset;
    const double exact_var = spread < 0 ? 0 : spread;  // NaN stays
    set_forward_line(space.lines, c, exact_mean, exact_var, weight, bias, eps);
    mean[c] = static_cast<T>(exact_mean);
    var[c] = static_cast<T>(exact_var);
  };
  const bool stream = x != y && plan.streams(y);
  if (plan.columns) {
    by_rows(
        plan, space,
        [&](int64_t split) {
          const int64_t to = split * plan.width;
          plan.block(split, [&](int64_t at, int64_t rows, int64_t n) {
            kernels.columns_moments(x + at, rows, n, space.pivot, space.sums.first + to,
                                    space.sums.second + to);
          });
        },
        finish, [&](int64_t split) { apply_columns(plan, space, f, alpha, x, stream, y, split); });
    return;
  }
  by_channel(
      plan, space.sums, sizeof(T),
      [&](int64_t c, int64_t split) {
        double sums[2] = {0, 0};
        plan.each_chunk(c, split, [&](int64_t at, int64_t rows, int64_t n) {
          kernels.run_moments(x + at, rows, plan.stride(), n, space.pivot[c], sums);
        });
        space.sums.first[c * plan.splits + split] = sums[0];
        space.sums.second[c * plan.splits + split] = sums[1];
      },
      finish, [&](int64_t c, int64_t split) { apply_run(plan, space, f, alpha, x, stream, y, c, split); });
}

template <class T>
void batch_norm_backward(const BatchNormGeometry& geometry, const T* dy, const T* x, const T* mean,
                         const T* var, const T* weight, const T* bias, double eps, Activation f, T alpha,
                         bool training, T* dx, T* dweight, T* dbias) {
  if (empty(geometry)) {
    if (dweight != nullptr) std::fill_n(dweight, geometry.channels, T(0));
    if (dbias != nullptr) std::fill_n(dbias, geometry.channels, T(0));
    return;
  }
  const bool moving = training && dx != nullptr;  // mean and var move with x
  const bool sums_wanted = moving || dweight != nullptr || dbias != nullptr;
  const Plan plan(geometry);
  const BatchNormKernels<T>& kernels = batch_norm_kernels<T>();
  Scratch scratch(Workspace<T>::bytes(plan));
  const Workspace<T> space(plan, scratch);
  for (int64_t c = 0; c < plan.g.channels; ++c) {
    set_forward_line(space.forward, c, mean[c], var[c], weight, bias, eps);
  }
  space.repeat(plan);
  const auto finish = [&](int64_t c, double sum, double product) {
    const double unit = 1 / std::sqrt(static_cast<double>(var[c]) + eps),
                 scale = value_or(weight, c, 1) * unit;
    space.lines.scale[c] = static_cast<T>(scale);
    space.lines.slope[c] = static_cast<T>(-scale * unit * unit * (product / plan.count()));
    space.lines.shift[c] = static_cast<T>(-scale * (sum / plan.count()));
    if (dweight != nullptr) dweight[c] = static_cast<T>(product * unit);
    if (dbias != nullptr) dbias[c] = static_cast<T>(sum);
  };
  const bool stream = moving && dx != dy && dx != x && plan.streams(dx);
  if (plan.columns) {
    by_rows(
        plan, space,
        [&](int64_t split) {
          if (!sums_wanted) return;
          const int64_t to = split * plan.width;
          plan.block(split, [&](int64_t at, int64_t rows, int64_t n) {
            kernels.columns_sums(f, alpha, space.forward, dy + at, x + at, rows, n, space.sums.first + to,
                                 space.sums.second + to);
          });
        },
        finish,
        [&](int64_t split) {
          if (dx == nullptr) return;
          plan.block(split, [&](int64_t at, int64_t rows, int64_t n) {
            kernels.columns_backward(f, alpha, space.forward, space.lines, moving, dy + at, x + at, rows, n,
                                     stream, dx + at);
          });
        });
    return;
  }
  by_channel(
      plan, space.sums, 2 * sizeof(T),
      [&](int64_t c, int64_t split) {
        if (!sums_wanted) return;
        double sums[2] = {0, 0};
        plan.each_chunk(c, split, [&](int64_t at, int64_t rows, int64_t n) {
          kernels.run_sums(f, alpha, space.forward_line(c), dy + at, x + at, rows, plan.stride(), n, sums);
        });
        space.sums.first[c * plan.splits + split] = sums[0];
        space.sums.second[c * plan.splits + split] = sums[1];
      },
      finish,
      [&](int64_t c, int64_t split) {
        if (dx == nullptr) return;
        plan.each_chunk(c, split, [&](int64_t at, int64_t rows, int64_t n) {
          kernels.run_backward(f, alpha, space.forward_line(c), space.line(c), moving, dy + at, x + at, rows,
                               plan.stride(), n, stream, dx + at);
        });
      });
}

#define NEOCOG_INSTANTIATE(T)                                                                                \
  template void batch_norm_inference<T>(const BatchNormGeometry&, const T*, const T*, const T*, const T*,    \
                                        const T*, double, Activation, T, T*);                                \
  template void batch_norm_with_moments<T>(const BatchNormGeometry&, const T*, const double*, const double*, \
                                           const T*, const T*, double, Activation, T, T*);                   \
  template void batch_norm_training<T>(const BatchNormGeometry&, const T*, const T*, const T*, double,       \
                                       Activation, T, T*, T*, T*);                                           \
  template void batch_norm_backward<T>(const BatchNormGeometry&, const T*, const T*, const T*, const T*,     \
                                       const T*, const T*, double, Activation, T, bool, T*, T*, T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
