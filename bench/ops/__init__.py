"""The rows of `python -m bench ops`: single operators, one file per family, in sets."""

from bench.ops import batch_norm, bf16, complaints, conv, conv_transpose, depthwise, pool

# Layers of common networks, batch 8.
ROWS = (
    *conv.ROWS_2D,
    *depthwise.ROWS,
    *conv_transpose.ROWS_2D,
    *conv.ROWS_1D,
    *conv_transpose.ROWS_1D,
    *pool.ROWS,
    *batch_norm.ROWS,
)
STANDARD = "standard"
SETS = {STANDARD: ROWS, "complaints": complaints.ROWS, "bf16": bf16.ROWS}
