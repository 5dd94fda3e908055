#include "engine/program.h"

#include <algorithm>
#include <chrono>

#include "core/held_block.h"
#include "core/parallel.h"
#include "core/require.h"

namespace neocog {
namespace {

// For one run. As large as the blocks that wait for the next one (memory.h): a fresh one costs page faults.
size_t arena_bytes(int64_t elements) {
  return std::max(static_cast<size_t>(elements) * sizeof(float), kKeptBlock);
}

}  // namespace

int64_t Operand::size() const {
  int64_t product = 1;
  for (const int64_t s : shape) product *= s;
  return product;
}

bool Operand::dense(const int64_t* order) const {
  int64_t step = 1;
  bool follows = true;
  for (int64_t place = ndim() - 1; place >= 0; --place) {
    const int64_t axis = order == nullptr ? place : order[place];
    if (shape[axis] == 0) return true;
    follows = follows && (shape[axis] == 1 || stride[axis] == step);
    step *= shape[axis];
  }
  return follows;
}

Program::Program(int64_t arena_elements) {
  require(arena_elements >= 0 && arena_elements <= int64_t{1} << 40, "the arena has no such size");
  buffers_.push_back({Kind::kArena, arena_elements, nullptr});
}

int Program::add_constant(const float* data, int64_t elements) {
  buffers_.push_back(
      {Kind::kConstant, elements, const_cast<float*>(data)});  // check() lets nobody write there
  return static_cast<int>(buffers_.size()) - 1;
}

int Program::add_input(int64_t elements) {
  buffers_.push_back({Kind::kInput, elements, nullptr});
  inputs_.push_back(static_cast<int>(buffers_.size()) - 1);
  return inputs_.back();
}

int Program::add_output(int64_t elements) {
  buffers_.push_back({Kind::kOutput, elements, nullptr});
  outputs_.push_back(static_cast<int>(buffers_.size()) - 1);
  return outputs_.back();
}

void Program::check(const Operand& operand, bool writes) const {
  require(operand.buffer >= 0 && operand.buffer < static_cast<int>(buffers_.size()),
          "a step names no buffer");
  require(operand.shape.size() == operand.stride.size(), "an operand needs a stride for every axis");
  const Buffer& buffer = buffers_[operand.buffer];
  require(!writes || buffer.kind == Kind::kArena || buffer.kind == Kind::kOutput,
          "a step would write to an input or a constant");
  int64_t low = operand.offset, high = operand.offset, size = 1;
  for (size_t axis = 0; axis < operand.shape.size(); ++axis) {
    require(operand.shape[axis] >= 0 && !__builtin_mul_overflow(size, operand.shape[axis], &size) &&
                size <= int64_t{1} << 48,
            "an operand has an impossible size");
  }
  if (size == 0) return;
  for (size_t axis = 0; axis < operand.shape.size(); ++axis) {
    int64_t reach = 0;
    require(!__builtin_mul_overflow(operand.shape[axis] - 1, operand.stride[axis], &reach) &&
                !__builtin_add_overflow(reach < 0 ? low : high, reach, reach < 0 ? &low : &high),
            "an operand has an impossible stride");
  }
  require(low >= 0 && high < buffer.elements, "an operand reaches beyond its buffer");
}

void Program::add(Step step) {
  for (const Operand& operand : step.reads) check(operand, false);
  for (const Operand& operand : step.writes) check(operand, true);
  steps_.push_back(std::move(step));
}

void Program::run(const float* const* inputs, float* const* outputs, double* seconds) const {
  const HeldBlock arena(arena_bytes(buffers_[0].elements));
  std::vector<float*> begin(buffers_.size());
  for (size_t i = 0; i < buffers_.size(); ++i) begin[i] = buffers_[i].data;
  begin[0] = arena.as<float>();
  for (size_t i = 0; i < inputs_.size(); ++i) begin[inputs_[i]] = const_cast<float*>(inputs[i]);
  for (size_t i = 0; i < outputs_.size(); ++i) begin[outputs_[i]] = outputs[i];
  const Buffers memory(begin.data());
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (seconds == nullptr) {
      steps_[i].run(memory);
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    steps_[i].run(memory);
    seconds[i] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
}

int64_t Program::largest_elements() const {
  int64_t elements = 0;
  for (const Buffer& buffer : buffers_) {
    if (buffer.kind != Kind::kConstant) elements = std::max(elements, buffer.elements);
  }
  return elements;
}

void Program::prepare() const {
  // Stand-ins for all memory of a run: kernels may look at it, but do no work.
  const int64_t elements = largest_elements();
  const HeldBlock arena(arena_bytes(elements));
  float* const memory = arena.as<float>();
  constexpr int64_t kPage = 4096 / sizeof(float);
  for (int64_t i = 0; i < elements; i += kPage) memory[i] = 0;
  std::vector<float*> begin(buffers_.size());
  for (size_t i = 0; i < buffers_.size(); ++i) {
    begin[i] = buffers_[i].kind == Kind::kConstant ? buffers_[i].data : memory;
  }
  const Idle idle(true);
  for (const Step& step : steps_) {
    if (step.keeps) step.run(Buffers(begin.data()));
  }
}

}  // namespace neocog
