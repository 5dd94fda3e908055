// Products of many matrices, float32: y[m] = a[m] b[m]. Errors are those of gemm.h.
#pragma once

#include <cstdint>
#include <vector>

namespace neocog {

// Where the matrices of one product begin; matrices may repeat.
struct MatmulOffsets {
  int64_t a, b, y;
};

// Sizes, and strides in elements. Rows of a and y are contiguous; b is contiguous along its rows or its
// columns.
struct MatmulGeometry {
  int64_t rows, depth, columns;
  int64_t a_row, b_row, b_column, y_row;
};

// No y overlaps another, or an operand.
void matmul_forward(const MatmulGeometry&, const std::vector<MatmulOffsets>& products, const float* a,
                    const float* b, float* y);

}  // namespace neocog
