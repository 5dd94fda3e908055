"""The rows of `python -m bench ops`: single operators, batch 8, one file per family."""

from bench.ops import batch_norm, conv, conv_transpose, depthwise, pool

ROWS = (
    *conv.ROWS_2D,
    *depthwise.ROWS,
    *conv_transpose.ROWS_2D,
    *conv.ROWS_1D,
    *conv_transpose.ROWS_1D,
    *pool.ROWS,
    *batch_norm.ROWS,
)
