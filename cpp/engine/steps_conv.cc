#include "engine/checks.h"
#include "engine/operands.h"
#include "engine/steps_pool.h"
#include "ops/conv/bf16_conv.h"
#include "ops/conv_transpose/conv_transpose.h"
#include "ops/depthwise/depthwise.h"
#include "ops/separable/separable.h"

namespace neocog {
namespace {

ConvGeometry geometry(const Image<float>& x, const std::array<int64_t, 4>& weight, const WindowArguments& a) {
  require(a.groups > 0 && x.c % a.groups == 0 && weight[0] % a.groups == 0 && weight[1] * a.groups == x.c,
          "channels and groups of a convolution do not agree");
  return {x.n,
          x.c,
          weight[0],
          a.groups,
          checked_window(x.h, weight[2], a.stride[0], a.dilation[0], a.padding[0], a.padding[1]),
          checked_window(x.w, weight[3], a.stride[1], a.dilation[1], a.padding[2], a.padding[3])};
}

// Images of x and y in one layout wherever both allow it.
std::pair<Image<float>, Image<float>> images(const Operand& x, const Operand& y,
                                             Slices slices = Slices::kNone) {
  check_operand(x);
  check_result(y);
  require(x.ndim() == y.ndim(), "images must have as many axes");
  const Layout layout = image_of(x, Layout::kChannelsLast, slices).layout;
  const Image<float> out = image_of(y, layout, slices);
  return {image_of(x, out.layout, slices), out};
}

// The same for a result that may not be wanted, but for its maxima.
std::pair<Image<float>, Image<float>> images(const Operand& x, const std::optional<Operand>& y,
                                             const std::optional<PooledArguments>& pooled,
                                             Slices slices = Slices::kNone) {
  if (y) return images(x, *y, slices);
  require(pooled.has_value(), "a convolution has a result");
  check_operand(x);
  return {image_of(x, Layout::kChannelsLast, slices), {nullptr, 0, 0, 0, 0, Layout::kChannelsLast}};
}

// The maxima of what a step computes, as a function of the memory.
class Pooling {
 public:
  Pooling(const PooledArguments& arguments, const Image<float>& image)
      : y_(arguments.y), image_(pooled_image(arguments, image)) {
    windows_ = std::make_shared<const PoolGeometry>(sliding_windows(image, image_, arguments.windows, false));
  }
  const Operand& y() const { return y_; }
  const PoolGeometry& windows() const { return *windows_; }
  MaxPooled<float> operator()(const Buffers& memory) const {
    return {windows_.get(), with_data(image_, memory.at(y_))};
  }

 private:
  static Image<float> pooled_image(const PooledArguments& arguments, const Image<float>& image) {
    check_result(arguments.y);
    const Image<float> y = image_of(arguments.y, Layout::kChannelsLast, Slices::kOfChannels);
    require(image.channels_last() && y.channels_last() && y.n == image.n && y.c == image.c,
            "a pooling inside a convolution needs channels-last images, and as many channels");
    check_operand({0, 0, {image.n, image.c, image.h, image.w}, {0, 0, 0, 0}});  // it may be nowhere
    require(y.size() > 0 && image.size() > 0, "images must not be empty");
    return y;
  }

  Operand y_;
  Image<float> image_;
  std::shared_ptr<const PoolGeometry> windows_;
};

bool pools(const Image<float>& x, const ConvGeometry& g, Activation activation, const Pooling& pooling) {
  return x.channels_last() && conv_pools<float>(g, activation, pooling.windows());
}
bool pools(const Image<float>& x, const ConvGeometry& g, const Image<float>& y, const Pooling& pooling) {
  return separable_pools<float>(g, x, y, pooling.windows());
}

// What a step writes: y, if it is wanted, and its maxima, if those are.
std::vector<Operand> results(const std::optional<Operand>& y, const std::optional<Pooling>& pooling) {
  std::vector<Operand> all;
  if (y) all.push_back(*y);
  if (pooling) all.push_back(pooling->y());
  return all;
}

// The epilogue as a function of the memory.
class EpilogueOf {
 public:
  EpilogueOf(const EpilogueArguments& arguments, const std::optional<Operand>& y, const Image<float>& image)
      : arguments_(arguments) {
    if (arguments.bias) check_operand(*arguments.bias);
    if (arguments.residual) check_operand(*arguments.residual);
    if (arguments.bias)
      require(arguments.bias->dense() && arguments.bias->size() == image.c,
              "a bias has one value per channel");
    if (!arguments.residual) return;
    require(y && arguments.residual->shape == y->shape &&
                image_of(*arguments.residual, image.layout).layout == image.layout,
            "a residual must lie as the result does");
    require(image.dense(), "what is added to a residual must be dense");
  }
  Epilogue<float> operator()(const Buffers& memory) const {
    return {arguments_.bias ? memory.at(*arguments_.bias) : nullptr,
            arguments_.residual ? memory.at(*arguments_.residual) : nullptr, arguments_.activation,
            arguments_.alpha};
  }
  void add_to(std::vector<Operand>& reads) const {
    if (arguments_.bias) reads.push_back(*arguments_.bias);
    if (arguments_.residual) reads.push_back(*arguments_.residual);
  }

 private:
  EpilogueArguments arguments_;
};

const char* const kPooledName = ", with its maxima";

const char* name_of(ConvKernel kernel) {
  switch (kernel) {
    case ConvKernel::kChannelVectors: return "direct, vectors of channels";
    case ConvKernel::kParts: return "direct, float32 in three parts";
    case ConvKernel::kPixelVectors: return "direct, vectors of pixels";
    case ConvKernel::kCol2im: return "direct, columns added up";
    case ConvKernel::kNarrowGroups: return "direct, groups of few channels";
    case ConvKernel::kFewPixels: return "matrix product, few pixels";
    case ConvKernel::kDepthwise: return "depthwise";
    case ConvKernel::kWinograd: return "Winograd";
    case ConvKernel::kWinogradGroups: return "Winograd, groups of few channels";
    case ConvKernel::kSpaceToDepth: return "Winograd, space to depth";
  }
  return "";
}

}  // namespace

WeightSource::WeightSource(const Operand& operand) : operand_(operand) {
  require(operand.ndim() >= 2 && operand.ndim() <= 4 && operand.dense(),
          "weights must be dense, of two to four axes");
  const int64_t last = operand.ndim() - 1;
  shape_ = {operand.shape[0], operand.shape[1], last == 3 ? operand.shape[2] : 1,
            last >= 2 ? operand.shape[last] : 1};
}

Step conv_step(const Operand& x, const WeightSource& weight, const WindowArguments& window,
               const EpilogueArguments& arguments, const std::optional<Operand>& y, bool bf16,
               const std::optional<PooledArguments>& pooled) {
  auto [in, out] = images(x, y, pooled, Slices::kOfChannels);
  const ConvGeometry g = geometry(in, weight.shape(), window);
  if (!y) out = {nullptr, g.batch, g.out_channels, g.h.out(), g.w.out(), Layout::kChannelsLast};
  require(out.n == g.batch && out.c == g.out_channels && out.h == g.h.out() && out.w == g.w.out(),
          "the result of a convolution has another shape");
  const EpilogueOf epilogue(arguments, y, out);
  std::optional<Pooling> pooling;
  if (pooled) pooling.emplace(*pooled, out);
  require(!pooling || (!arguments.residual && pools(in, g, arguments.activation, *pooling)),
          "this convolution takes no pooling");
  bf16 = bf16 && bf16_suits(g) && in.dense() && out.dense() && !pooling;
  std::string name =
      bf16 ? bf16_conv_name(g) : name_of(conv_kernel<float>(g, in.channels_last() ? out.layout : in.layout));
  Step step{{x}, results(y, pooling), nullptr, pooling ? name + kPooledName : name};
  weight.add_to(step);
  epilogue.add_to(step.reads);
  step.run = [=, in = in, out = out](const Buffers& memory) {
    const Image<const float> from = with_data<const float>(in, memory.at(x));
    const Image<float> to = with_data(out, y ? memory.at(*y) : nullptr);
    Epilogue<float> after = epilogue(memory);
    if (bf16) {
      bf16_conv(g, from, weight.at(memory), after, to);
      return;
    }
    MaxPooled<float> maxima{};
    if (pooling) {
      maxima = (*pooling)(memory);
      after.pooled = &maxima;
    }
    conv_forward<float>(g, from, weight.at(memory), after, to);
  };
  return step;
}

bool conv_step_pools(const Operand& x, const WeightSource& weight, const WindowArguments& window,
                     Activation activation, const PooledArguments& pooled) {
  const Image<float> in = image_of(x, Layout::kChannelsLast, Slices::kOfChannels);
  const ConvGeometry g = geometry(in, weight.shape(), window);
  const Pooling pooling(pooled,
                        {nullptr, g.batch, g.out_channels, g.h.out(), g.w.out(), Layout::kChannelsLast});
  return pools(in, g, activation, pooling);
}

Step conv_transpose_step(const Operand& x, const WeightSource& weight, const WindowArguments& window,
                         const EpilogueArguments& arguments, const Operand& y) {
  const auto [in, out] = images(x, y, Slices::kOfChannels);
  // Seen from y, the weight (C, O/groups, R, S) is that of the convolution from y to x.
  const ConvGeometry g = geometry(out, weight.shape(), window);
  require(in.n == out.n && in.c == weight.shape()[0] && in.h == g.h.out() && in.w == g.w.out(),
          "the result of a transposed convolution has another shape");
  const EpilogueOf epilogue(arguments, y, out);
  Step step{{x}, {y}, nullptr, "transposed"};
  weight.add_to(step);
  epilogue.add_to(step.reads);
  step.run = [=](const Buffers& memory) {
    conv_transpose_forward<float>(g, with_data<const float>(in, memory.at(x)), weight.at(memory),
                                  epilogue(memory), with_data(out, memory.at(y)));
  };
  return step;
}

Step separable_conv_step(const Operand& x, const WeightSource& depthwise, const WeightSource& pointwise,
                         const std::optional<PrologueArguments>& before, const WindowArguments& window,
                         const EpilogueArguments& arguments, const std::optional<Operand>& y,
                         const std::optional<PooledArguments>& pooled) {
  auto [in, out] = images(x, y, pooled);
  require(window.groups == in.c && depthwise.shape()[1] == 1,
          "a separable convolution has a group per channel");
  const ConvGeometry g = geometry(in, depthwise.shape(), window);
  if (!y) out = {nullptr, g.batch, pointwise.shape()[0], g.h.out(), g.w.out(), Layout::kChannelsLast};
  require(pointwise.shape()[1] == g.out_channels && pointwise.shape()[2] == 1 && pointwise.shape()[3] == 1,
          "the weights of a separable convolution do not agree");
  require(out.n == g.batch && out.c == pointwise.shape()[0] && out.h == g.h.out() && out.w == g.w.out(),
          "the result of a separable convolution has another shape");
  const EpilogueOf epilogue(arguments, y, out);
  if (before) {
    for (const Operand& values : {before->center, before->scale, before->shift}) {
      check_operand(values);
      require(values.dense() && values.size() == in.c, "a batch norm has one value per channel");
    }
  }
  std::optional<Pooling> pooling;
  if (pooled) pooling.emplace(*pooled, out);
  require(!pooling || (!arguments.residual && pools(in, g, out, *pooling)),
          "this convolution takes no pooling");
  const bool one_pass = separable_method<float>(g, in, out) == SeparableMethod::kOnePass;
  const std::string name =
      one_pass ? (before ? "batch norm, depthwise and pointwise in one pass"
                         : "depthwise and pointwise in one pass")
               : (before ? "batch norm, then depthwise, then pointwise" : "depthwise, then pointwise");
  Step step{{x}, results(y, pooling), nullptr, pooling ? name + kPooledName : name};
  depthwise.add_to(step);
  pointwise.add_to(step);
  epilogue.add_to(step.reads);
  if (before) step.reads.insert(step.reads.end(), {before->center, before->scale, before->shift});
  step.run = [=, in = in, out = out](const Buffers& memory) {
    Prologue<float> prologue{};
    if (before) {
      prologue = {memory.at(before->center), memory.at(before->scale), memory.at(before->shift),
                  before->activation, before->alpha};
    }
    MaxPooled<float> maxima{};
    Epilogue<float> after = epilogue(memory);
    if (pooling) {
      maxima = (*pooling)(memory);
      after.pooled = &maxima;
    }
    separable_forward<float>(g, with_data<const float>(in, memory.at(x)), depthwise.at(memory),
                             pointwise.at(memory), after, with_data(out, y ? memory.at(*y) : nullptr),
                             before ? &prologue : nullptr);
  };
  return step;
}

bool separable_conv_step_pools(const Operand& x, const WeightSource& depthwise, const WeightSource& pointwise,
                               const WindowArguments& window, const PooledArguments& pooled) {
  const Image<float> in = image_of(x);
  const ConvGeometry g = geometry(in, depthwise.shape(), window);
  const Image<float> out{nullptr, g.batch, pointwise.shape()[0], g.h.out(), g.w.out(), Layout::kChannelsLast};
  return pools(in, g, out, Pooling(pooled, out));
}

}  // namespace neocog
