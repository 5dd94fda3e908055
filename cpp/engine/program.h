// A network as one call: kernel steps in order, over one arena of memory. Built once for given sizes, then
// run any number of times, from any number of threads at once: each run has an arena of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace neocog {

// Where a float32 tensor of a program lies.
struct Operand {
  int buffer;  // of the program
  int64_t offset;
  std::vector<int64_t> shape, stride;  // in elements

  int64_t ndim() const { return static_cast<int64_t>(shape.size()); }
  int64_t size() const;
  // Dense in the order of these axes, the outermost first; null: in their own order.
  bool dense(const int64_t* order = nullptr) const;
};

// The memory of one run, by the index of a buffer.
class Buffers {
 public:
  explicit Buffers(float* const* begin) : begin_(begin) {}
  float* at(const Operand& operand) const { return begin_[operand.buffer] + operand.offset; }

 private:
  float* const* begin_;
};

struct Step {
  std::vector<Operand> reads, writes;
  std::function<void(const Buffers&)> run;
  std::string kernel;  // what it runs, for people
  bool keeps = false;  // something made of its weights (KeptWeights)
};

class Program {
 public:
  // Buffer 0 is the arena.
  explicit Program(int64_t arena_elements);

  // Buffers get the next free index. Constants stay the caller's memory.
  int add_constant(const float* data, int64_t elements);
  int add_input(int64_t elements);
  int add_output(int64_t elements);
  // Throws std::invalid_argument where an operand reaches beyond its buffer, or a step would write to an
  // input or a constant.
  void add(Step step);

  int64_t inputs() const { return static_cast<int64_t>(inputs_.size()); }
  int64_t outputs() const { return static_cast<int64_t>(outputs_.size()); }
  int64_t input_elements(int64_t i) const { return buffers_[inputs_[i]].elements; }
  int64_t output_elements(int64_t i) const { return buffers_[outputs_[i]].elements; }
  int64_t arena_elements() const { return buffers_[0].elements; }
  // Of the largest of arena, inputs and outputs: what `prepare` touches.
  int64_t largest_elements() const;
  const std::vector<Step>& steps() const { return steps_; }

  // `inputs` and `outputs` have the elements they were added with. `seconds`, if not null, gets the time of
  // each step.
  void run(const float* const* inputs, float* const* outputs, double* seconds = nullptr) const;
  // Makes what the steps keep of their weights, and touches the memory of a run: the first one then takes
  // as long as those after it.
  void prepare() const;

 private:
  enum class Kind { kArena, kConstant, kInput, kOutput };
  struct Buffer {
    Kind kind;
    int64_t elements;
    float* data;  // of a constant
  };
  void check(const Operand& operand, bool writes) const;

  std::vector<Buffer> buffers_;
  std::vector<int> inputs_, outputs_;
  std::vector<Step> steps_;
};

}  // namespace neocog
