// Programs and the weights of their layers; no arithmetic and no choices.
#include "bindings/engine.h"

#include <tuple>

#include "bindings/conv_arguments.h"
#include "core/parallel.h"
#include "engine/operands.h"

namespace neocog::bindings {
namespace {

// A constant of a program stays alive as long as the program does.
HeldWeights layer_weights(const py::array_t<float>& array) {
  const ArrayRef ref(array);
  require(ref.c_contiguous(), "weights must be C-contiguous float32");
  require(ref.ndim() >= 2 && ref.ndim() <= 4, "weights must have two to four axes");
  auto weights = std::make_shared<LayerWeights>();
  weights->data = static_cast<const float*>(ref.data());
  const int64_t last = ref.ndim() - 1;
  weights->shape = {ref.shape(0), ref.shape(1), ref.ndim() == 4 ? ref.shape(2) : 1,
                    last >= 2 ? ref.shape(last) : 1};
  return {std::move(weights), array};
}

std::vector<py::ssize_t> shape_of(const std::vector<int64_t>& shape) {
  return {shape.begin(), shape.end()};
}

// A program with the shapes of its results, and the arrays that it reads.
struct Held : Program {
  using Program::Program;
  std::vector<std::vector<int64_t>> output_shapes;
  std::vector<py::object> arrays;
};

int add_constant(Held& program, const py::array_t<float>& array) {
  const ArrayRef ref(array);
  require(ref.c_contiguous(), "a constant must be C-contiguous float32");
  program.arrays.push_back(array);
  return program.add_constant(static_cast<const float*>(ref.data()), ref.size());
}

int add_output(Held& program, const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (const int64_t s : shape) size = checked_product({size, s});
  program.output_shapes.push_back(shape);
  return program.add_output(size);
}

// Results are arrays of the kind of the first input. `seconds`: also the time of each step.
py::object run(const Held& program, const std::vector<ArrayRef>& inputs, bool timed, int threads) {
  require(static_cast<int64_t>(inputs.size()) == program.inputs(), "a program got another number of inputs");
  std::vector<const float*> in(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    require(inputs[i].dtype() == DType::kFloat32, "inputs must be float32");
    require(inputs[i].size() == program.input_elements(static_cast<int64_t>(i)),
            "an input has another number of elements");
    const ArrayRef& x = inputs[i];
    constexpr int64_t kLast4[] = {0, 2, 3, 1}, kLast3[] = {0, 2, 1};
    require(x.c_contiguous() || (x.ndim() == 4 && x.dense(kLast4)) || (x.ndim() == 3 && x.dense(kLast3)),
            "inputs must be dense, channels first or last");
    in[i] = static_cast<const float*>(x.data());
  }
  const ArrayRef like = inputs.empty() ? ArrayRef(py::array_t<float>(0)) : inputs[0];
  py::list results;
  std::vector<float*> out;
  for (const std::vector<int64_t>& shape : program.output_shapes) {
    NewArray<float> array = new_dense_like<float>(like, shape_of(shape));
    results.append(std::move(array.object));
    out.push_back(array.data);
  }
  std::vector<double> seconds(timed ? program.steps().size() : 0);
  {
    const py::gil_scoped_release nogil;
    const ThreadLimit limit(threads);
    program.run(in.data(), out.data(), timed ? seconds.data() : nullptr);
  }
  if (!timed) return results;
  return py::make_tuple(std::move(results), seconds);
}

void prepare(const Held& program, int threads) {
  const py::gil_scoped_release nogil;
  const ThreadLimit limit(threads);
  program.prepare();
}

void keep(Held& program, const WeightArgument& weights) {
  if (const auto* held = std::get_if<HeldWeights>(&weights)) program.arrays.push_back(held->array);
}

EpilogueArguments epilogue(const std::optional<Operand>& bias, const std::optional<Operand>& residual,
                           int activation, double alpha) {
  return {bias, residual, activation_of(activation), static_cast<float>(alpha)};
}

// Kernel, stride, padding and dilation of a pooling.
using PoolNumbers = std::tuple<Pair, Pair, Padding, Pair>;

PooledArguments pooling(const Operand& y, const PoolNumbers& windows) {
  const auto& [kernel, stride, padding, dilation] = windows;
  return {{kernel, stride, dilation, padding}, y};
}
std::optional<PooledArguments> pooling(const std::optional<Operand>& y,
                                       const std::optional<PoolNumbers>& windows) {
  require(y.has_value() == windows.has_value(), "a pooling has windows and a result");
  if (!y) return std::nullopt;
  return pooling(*y, *windows);
}

void add_conv(Held& program, const Operand& x, const WeightArgument& weights,
              const std::optional<Operand>& bias, const std::optional<Operand>& residual,
              const std::optional<Operand>& y, const Pair& stride, const Padding& padding,
              const Pair& dilation, int64_t groups, int activation, double alpha, bool bf16,
              const std::optional<Operand>& pooled, const std::optional<PoolNumbers>& windows) {
  program.add(conv_step(x, source(weights), {stride, dilation, padding, groups},
                        epilogue(bias, residual, activation, alpha), y, bf16, pooling(pooled, windows)));
  keep(program, weights);
}

void add_conv_transpose(Held& program, const Operand& x, const WeightArgument& weights,
                        const std::optional<Operand>& bias, const std::optional<Operand>& residual,
                        const Operand& y, const Pair& stride, const Padding& padding, const Pair& dilation,
                        int64_t groups, int activation, double alpha) {
  program.add(conv_transpose_step(x, source(weights), {stride, dilation, padding, groups},
                                  epilogue(bias, residual, activation, alpha), y));
  keep(program, weights);
}

void add_separable(Held& program, const Operand& x, const WeightArgument& depthwise,
                   const WeightArgument& pointwise, const std::optional<Operand>& bias,
                   const std::optional<Operand>& residual, const std::optional<Operand>& center,
                   const std::optional<Operand>& scale, const std::optional<Operand>& shift,
                   const std::optional<Operand>& y, const Pair& stride, const Padding& padding,
                   const Pair& dilation, int activation, double alpha, int before_activation,
                   double before_alpha, const std::optional<Operand>& pooled,
                   const std::optional<PoolNumbers>& windows) {
  const int64_t groups = image_of(x).c;
  std::optional<PrologueArguments> prologue;
  require(center.has_value() == scale.has_value() && scale.has_value() == shift.has_value(),
          "a batch norm before a convolution needs all of its values");
  if (center) {
    prologue = {*center, *scale, *shift, activation_of(before_activation), static_cast<float>(before_alpha)};
  }
  program.add(separable_conv_step(x, source(depthwise), source(pointwise), prologue,
                                  {stride, dilation, padding, groups},
                                  epilogue(bias, residual, activation, alpha), y, pooling(pooled, windows)));
  keep(program, depthwise);
  keep(program, pointwise);
}

bool conv_takes(const Operand& x, const WeightArgument& weights, const Pair& stride, const Padding& padding,
                const Pair& dilation, int64_t groups, int activation, const Operand& pooled,
                const PoolNumbers& windows) {
  return conv_step_pools(x, source(weights), {stride, dilation, padding, groups}, activation_of(activation),
                         pooling(pooled, windows));
}

bool separable_takes(const Operand& x, const WeightArgument& depthwise, const WeightArgument& pointwise,
                     const Pair& stride, const Padding& padding, const Pair& dilation, const Operand& pooled,
                     const PoolNumbers& windows) {
  return separable_conv_step_pools(x, source(depthwise), source(pointwise),
                                   {stride, dilation, padding, image_of(x).c}, pooling(pooled, windows));
}

}  // namespace

void bind_engine(py::module_& m) {
  py::class_<HeldWeights>(m, "LayerWeights")
      .def(py::init(&layer_weights), "array"_a)
      .def_property_readonly("array", [](const HeldWeights& held) { return held.array; })
      .def_property_readonly("kept_bytes",
                             [](const HeldWeights& held) { return held.weights->kept.bytes(); });
  ProgramClass base(m, "ProgramSteps");
  bind_engine_steps(base);
  py::class_<Held, Program, std::shared_ptr<Held>>(m, "Program")
      .def(py::init<int64_t>(), "arena_elements"_a)
      .def("add_constant", &add_constant, "array"_a)
      .def(
          "add_input", [](Held& p, int64_t elements) { return p.add_input(elements); }, "elements"_a)
      .def("add_output", &add_output, "shape"_a)
      .def("conv", &add_conv, "x"_a, "weights"_a, "bias"_a, "residual"_a, "y"_a, "stride"_a, "padding"_a,
           "dilation"_a, "groups"_a, "activation"_a, "alpha"_a, "bf16"_a = false, "pooled"_a = py::none(),
           "windows"_a = py::none())
      .def_static("conv_pools", &conv_takes, "x"_a, "weights"_a, "stride"_a, "padding"_a, "dilation"_a,
                  "groups"_a, "activation"_a, "pooled"_a, "windows"_a)
      .def("conv_transpose", &add_conv_transpose, "x"_a, "weights"_a, "bias"_a, "residual"_a, "y"_a,
           "stride"_a, "padding"_a, "dilation"_a, "groups"_a, "activation"_a, "alpha"_a)
      .def("separable_conv", &add_separable, "x"_a, "depthwise"_a, "pointwise"_a, "bias"_a, "residual"_a,
           "center"_a, "scale"_a, "shift"_a, "y"_a, "stride"_a, "padding"_a, "dilation"_a, "activation"_a,
           "alpha"_a, "before_activation"_a, "before_alpha"_a, "pooled"_a = py::none(),
           "windows"_a = py::none())
      .def_static("separable_conv_pools", &separable_takes, "x"_a, "depthwise"_a, "pointwise"_a, "stride"_a,
                  "padding"_a, "dilation"_a, "pooled"_a, "windows"_a)
      .def("run", &run, "inputs"_a, "timed"_a = false, "threads"_a = 0)
      .def("prepare", &prepare, "threads"_a = 0)
      .def_property_readonly("arena_bytes", [](const Held& p) { return p.arena_elements() * sizeof(float); })
      .def_property_readonly("largest_bytes",
                             [](const Held& p) { return p.largest_elements() * sizeof(float); })
      .def_property_readonly("kernels", [](const Held& p) {
        std::vector<std::string> names;
        for (const Step& step : p.steps()) names.push_back(step.kernel);
        return names;
      });
}

}  // namespace neocog::bindings
