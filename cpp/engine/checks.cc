#include "engine/checks.h"

#include <algorithm>
#include <numeric>

namespace neocog {

void check_operand(const Operand& operand) {
  require(operand.shape.size() == operand.stride.size(), "an operand needs a stride for every axis");
  require(operand.shape.size() <= 64, "an operand has more than 64 axes");
  int64_t size = 1;
  for (size_t axis = 0; axis < operand.shape.size(); ++axis) {
    const int64_t n = operand.shape[axis], stride = operand.stride[axis];
    require(n >= 0 && n <= int64_t{1} << 48 && !__builtin_mul_overflow(size, n > 0 ? n : 1, &size) &&
                size <= int64_t{1} << 48,
            "an operand has an impossible size");
    require(-(int64_t{1} << 48) < stride && stride < int64_t{1} << 48, "an operand has an impossible stride");
  }
}

std::vector<int64_t> memory_order(const Operand& operand) {
  std::vector<int64_t> order(operand.shape.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return operand.stride[a] > operand.stride[b]; });
  return order;
}

void check_result(const Operand& operand) {
  check_operand(operand);
  if (operand.size() == 0) return;
  const std::vector<int64_t> order = memory_order(operand);
  int64_t reach = 0;  // of the axes inside
  for (size_t place = order.size(); place-- > 0;) {
    const int64_t n = operand.shape[order[place]], stride = operand.stride[order[place]];
    if (n == 1) continue;
    int64_t more = 0;
    require(stride > reach && !__builtin_mul_overflow(n - 1, stride, &more) &&
                !__builtin_add_overflow(reach, more, &reach),
            "elements of a result overlap");
  }
}

void check_alike(const Operand& x, const Operand& y) {
  check_operand(x);
  check_result(y);
  require(x.shape == y.shape, "the shapes of x and y differ");
}

bool packed_alike(const Operand& x, const Operand& y) {
  std::vector<int64_t> order = memory_order(y);
  std::erase_if(order, [&](int64_t axis) { return y.shape[axis] == 1; });
  int64_t step = 1;
  for (size_t place = order.size(); place-- > 0; step *= y.shape[order[place]]) {
    if (y.stride[order[place]] != step || x.stride[order[place]] != step) return false;
  }
  return true;
}

int64_t checked_axis(int64_t axis, int64_t ndim) {
  require(-ndim <= axis && axis < ndim, "an axis does not exist");
  return axis < 0 ? axis + ndim : axis;
}

}  // namespace neocog
