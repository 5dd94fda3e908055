"""Types of the compiled module (cpp/bindings). Private: use neocog.ops.

Arrays are float32 or float64, all of a call the same, and dense: images as (N, C, H, W) in the layout that
`channels_last` says, everything else in C order unless a function says otherwise. Sizes and steps come as
(height, width), padding as (top, bottom, left, right), activations as the codes of `neocog._activations`.
Gradients are `dy`, `dx`. A call that breaks these rules is a ValueError; users read messages of neocog.ops.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict, overload

from numpy.typing import NDArray

_Array = NDArray[Any]
_Ints = Sequence[int]

class _BuildInfo(TypedDict):
    compiler: str
    build_type: str
    cxx_standard: int
    openmp: str
    sanitizer: str

__version__: str
isa_environment_error: str | None
bf16_environment_error: str | None

def build_info() -> _BuildInfo: ...
def available_isas() -> list[str]: ...
def active_isa() -> str: ...
def set_isa(name: str) -> None: ...
def available_bf16_units() -> list[str]: ...
def active_bf16_unit() -> str: ...
def set_bf16_unit(name: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def free_kept_memory() -> int: ...
def strict() -> bool: ...
def set_strict(strict: bool) -> None: ...
def measure_fma_peak(threads: int) -> float: ...
def measure_copy_bandwidth(threads: int, bytes: int) -> float: ...
def measure_read_bandwidth(threads: int, bytes: int) -> float: ...
def run_fma_chains(threads: int) -> float: ...
def run_copy(threads: int, from_: _Array, to: _Array) -> None: ...

# 0: channels first, 1: channels last, as torch reads the strides; 2 and 3 the same where the array is not dense.
def memory_layout(images: _Array) -> int: ...

# Convolutions: weight (O, C/groups, R, S).
def conv_forward(
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    residual: _Array | None,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    groups: int,
    activation: int,
    alpha: float,
    channels_last: bool | None,  # None: as torch decides it from x and weight
    direct: bool = False,
    bf16: bool = False,
) -> _Array: ...
def conv_batch_norm_training(
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    bn_weight: _Array | None,
    bn_bias: _Array | None,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    groups: int,
    eps: float,
    activation: int,
    alpha: float,
    channels_last: bool | None,  # None: as torch decides it from x and weight
) -> tuple[_Array, _Array, _Array, _Array]: ...  # y, what the convolution gives, mean, biased variance
def conv_counts(
    image: _Ints,
    weight: _Ints,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    groups: int,
    use: int,  # 0: forward, 1: transposed, 2: weight gradient
) -> tuple[list[float], list[float], bool]: ...  # of the plain sum, of Winograd's method, whether that is chosen
def set_winograd_always(always: bool) -> None: ...
def conv_kernel(
    image: _Ints,
    weight: _Array,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    groups: int,
    channels_last: bool = False,
    bf16: bool = False,
) -> str: ...
def conv_backward(
    dy: _Array,
    x: _Array,
    weight: _Array,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    groups: int,
    mask: Sequence[bool],
    channels_last: bool,
    weight_channels_last: bool = ...,
) -> tuple[_Array | None, _Array | None, _Array | None]: ...
def conv_backward_bias(dy: _Array, channels_last: bool) -> _Array: ...
def conv_transpose_forward(
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    out_size: _Ints,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    groups: int,
    activation: int,
    alpha: float,
    channels_last: bool,
) -> _Array: ...
def conv_transpose_backward(
    dy: _Array,
    x: _Array,
    weight: _Array,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    groups: int,
    mask: Sequence[bool],
    channels_last: bool,
    weight_channels_last: bool = ...,
) -> tuple[_Array | None, _Array | None, _Array | None]: ...
def depthwise_forward(
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    activation: int,
    alpha: float,
    channels_last: bool,
) -> _Array: ...
def separable_forward(
    x: _Array,
    depthwise_weight: _Array,
    pointwise_weight: _Array,
    bias: _Array | None,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    activation: int,
    alpha: float,
    channels_last: bool,
) -> _Array: ...

# Matrix products: x (rows, I), weight (O, I).
def linear_forward(x: _Array, weight: _Array, bias: _Array | None, bf16: bool = False) -> _Array: ...
def linear_backward_x(dy: _Array, weight: _Array) -> _Array: ...
def linear_backward_weight(dy: _Array, x: _Array) -> _Array: ...

# Pooling: indices are int64, laid out as the pooled image.
@overload
def max_pool_forward(
    x: _Array,
    out: _Ints,
    kernel: _Ints,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    return_indices: Literal[False],
    channels_last: bool,
) -> _Array: ...
@overload
def max_pool_forward(
    x: _Array,
    out: _Ints,
    kernel: _Ints,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    return_indices: Literal[True],
    channels_last: bool,
) -> tuple[_Array, _Array]: ...
@overload
def max_pool_forward(
    x: _Array,
    out: _Ints,
    kernel: _Ints,
    stride: _Ints,
    padding: _Ints,
    dilation: _Ints,
    return_indices: bool,
    channels_last: bool,
) -> Any: ...
@overload
def adaptive_max_pool_forward(x: _Array, out: _Ints, return_indices: Literal[False], channels_last: bool) -> _Array: ...
@overload
def adaptive_max_pool_forward(
    x: _Array, out: _Ints, return_indices: Literal[True], channels_last: bool
) -> tuple[_Array, _Array]: ...
@overload
def adaptive_max_pool_forward(x: _Array, out: _Ints, return_indices: bool, channels_last: bool) -> Any: ...
def max_pool_backward(dy: _Array, indices: _Array, in_size: _Ints, channels_last: bool) -> _Array: ...
def avg_pool_forward(
    x: _Array,
    out: _Ints,
    kernel: _Ints,
    stride: _Ints,
    padding: _Ints,
    count_padding: bool,
    divisor: int | None,
    channels_last: bool,
) -> _Array: ...
def avg_pool_backward(
    dy: _Array,
    in_size: _Ints,
    kernel: _Ints,
    stride: _Ints,
    padding: _Ints,
    count_padding: bool,
    divisor: int | None,
    channels_last: bool,
) -> _Array: ...
def adaptive_avg_pool_forward(x: _Array, out: _Ints, channels_last: bool) -> _Array: ...
def adaptive_avg_pool_backward(dy: _Array, in_size: _Ints, channels_last: bool) -> _Array: ...
def max_unpool_forward(x: _Array, indices: _Array, out: _Ints, channels_last: bool) -> _Array: ...
def max_unpool_backward(dy: _Array, indices: _Array, channels_last: bool) -> _Array: ...

# Batch normalisation: statistics and parameters (C,).
def batch_norm_inference(
    x: _Array,
    mean: _Array,
    var: _Array,
    weight: _Array | None,
    bias: _Array | None,
    eps: float,
    activation: int,
    alpha: float,
    channels_last: bool | None,
) -> _Array: ...
def batch_norm_training(
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    eps: float,
    activation: int,
    alpha: float,
    channels_last: bool,
) -> tuple[_Array, _Array, _Array]: ...
def batch_norm_backward(
    dy: _Array,
    x: _Array,
    mean: _Array,
    var: _Array,
    weight: _Array | None,
    bias: _Array | None,
    eps: float,
    activation: int,
    alpha: float,
    training: bool,
    mask: Sequence[bool],
    channels_last: bool,
) -> tuple[_Array | None, _Array | None, _Array | None]: ...

# Value by value, arrays of any rank.
def elementwise_forward(x: _Array, activation: int, alpha: float) -> _Array: ...
def elementwise_backward(dy: _Array, x: _Array, activation: int, alpha: float) -> _Array: ...
def add_forward(a: _Array, b: _Array, activation: int, alpha: float) -> _Array: ...
def add_backward(dy: _Array, shape: _Ints) -> _Array: ...
def prelu_forward(x: _Array, weight: _Array, axis: int) -> _Array: ...
def prelu_backward(
    dy: _Array, x: _Array, weight: _Array, axis: int, want_x: bool, want_weight: bool
) -> tuple[_Array | None, _Array | None]: ...
def softmax_forward(x: _Array, axis: int) -> _Array: ...
def softmax_backward(dy: _Array, y: _Array, axis: int) -> _Array: ...

# Moving values: `order` lists the result's axes, outermost in memory first. All but pad take any strides.
def pad_forward(x: _Array, lo: _Ints, hi: _Ints, mode: int, value: float) -> _Array: ...
def pad_backward(dy: _Array, in_shape: _Ints, lo: _Ints, hi: _Ints, mode: int) -> _Array: ...
def concat_forward(arrays: Sequence[_Array], axis: int, order: _Ints) -> _Array: ...
def concat_backward(dy: _Array, sizes: _Ints, axis: int, order: _Ints) -> list[_Array]: ...
def pixel_shuffle(x: _Array, r: int, order: _Ints) -> _Array: ...
def pixel_unshuffle(x: _Array, r: int, order: _Ints) -> _Array: ...

# Resampling: `planar` is two dimensions; a scale of 0 means the ratio of the sizes.
def resample_forward(
    x: _Array,
    out_size: _Ints,
    scale: Sequence[float],
    mode: int,
    align_corners: bool,
    planar: bool,
    channels_last: bool,
) -> _Array: ...
def resample_backward(
    dy: _Array,
    in_size: _Ints,
    scale: Sequence[float],
    mode: int,
    align_corners: bool,
    planar: bool,
    channels_last: bool,
) -> _Array: ...

# Programs of the engine: an operand is a buffer, an offset, a shape and strides, in elements. Buffer 0 is the arena.
_Operand = tuple[int, int, Sequence[int], Sequence[int]]

class LayerWeights:
    def __init__(self, array: _Array) -> None: ...
    @property
    def array(self) -> _Array: ...
    @property
    def kept_bytes(self) -> int: ...

_Weights = LayerWeights | _Operand
_Windows = tuple[_Ints, _Ints, _Ints, _Ints]  # kernel, stride, padding, dilation

class ProgramSteps:
    def activation(self, x: _Operand, y: _Operand, code: int, alpha: float) -> None: ...
    def unary(self, name: str, x: _Operand, y: _Operand, p: float = ..., q: float = ...) -> None: ...
    def binary(
        self, name: str, a: _Operand, b: _Operand, y: _Operand, activation: int = ..., alpha: float = ...
    ) -> None: ...
    def prelu(self, x: _Operand, slope: _Operand, y: _Operand) -> None: ...
    def reduce(self, name: str, x: _Operand, axes: Sequence[int], y: _Operand) -> None: ...
    def softmax(self, x: _Operand, y: _Operand, axis: int, log: bool) -> None: ...
    def copy(self, x: _Operand, y: _Operand) -> None: ...
    def linear(
        self,
        x: _Operand,
        weights: _Weights,
        bias: _Operand | None,
        y: _Operand,
        activation: int = ...,
        alpha: float = ...,
        bf16: bool = False,
    ) -> None: ...
    def matmul(self, a: _Operand, b: _Operand, y: _Operand) -> None: ...
    def group_norm(
        self, x: _Operand, weight: _Operand | None, bias: _Operand | None, y: _Operand, groups: int, eps: float
    ) -> None: ...
    def layer_norm(
        self, x: _Operand, weight: _Operand | None, bias: _Operand | None, y: _Operand, axes: int, eps: float
    ) -> None: ...
    def lrn(self, x: _Operand, y: _Operand, size: int, alpha: float, beta: float, bias: float) -> None: ...
    def interpolate(
        self, x: _Operand, y: _Operand, axis: int, taps: int, index: Sequence[int], weight: Sequence[float]
    ) -> None: ...
    def resize(self, x: _Operand, y: _Operand, mode: int, align_corners: bool) -> None: ...
    def batch_norm(
        self,
        x: _Operand,
        mean: _Operand,
        var: _Operand,
        weight: _Operand | None,
        bias: _Operand | None,
        y: _Operand,
        eps: float,
        activation: int = ...,
        alpha: float = ...,
    ) -> None: ...
    def max_pool(
        self, x: _Operand, y: _Operand, kernel: _Ints, stride: _Ints, padding: _Ints, dilation: _Ints
    ) -> None: ...
    def avg_pool(
        self,
        x: _Operand,
        y: _Operand,
        kernel: _Ints,
        stride: _Ints,
        padding: _Ints,
        count_padding: bool,
        divisor: int | None,
    ) -> None: ...
    def adaptive_max_pool(self, x: _Operand, y: _Operand) -> None: ...
    def adaptive_avg_pool(self, x: _Operand, y: _Operand) -> None: ...

class Program(ProgramSteps):
    def __init__(self, arena_elements: int) -> None: ...
    def add_constant(self, array: _Array) -> int: ...
    def add_input(self, elements: int) -> int: ...
    def add_output(self, shape: _Ints) -> int: ...
    def conv(
        self,
        x: _Operand,
        weights: _Weights,
        bias: _Operand | None,
        residual: _Operand | None,
        y: _Operand | None,
        stride: _Ints,
        padding: _Ints,
        dilation: _Ints,
        groups: int,
        activation: int,
        alpha: float,
        bf16: bool = False,
        pooled: _Operand | None = None,
        windows: _Windows | None = None,
    ) -> None: ...
    @staticmethod
    def conv_pools(
        x: _Operand,
        weights: _Weights,
        stride: _Ints,
        padding: _Ints,
        dilation: _Ints,
        groups: int,
        activation: int,
        pooled: _Operand,
        windows: _Windows,
    ) -> bool: ...
    def conv_transpose(
        self,
        x: _Operand,
        weights: _Weights,
        bias: _Operand | None,
        residual: _Operand | None,
        y: _Operand,
        stride: _Ints,
        padding: _Ints,
        dilation: _Ints,
        groups: int,
        activation: int,
        alpha: float,
    ) -> None: ...
    def separable_conv(
        self,
        x: _Operand,
        depthwise: _Weights,
        pointwise: _Weights,
        bias: _Operand | None,
        residual: _Operand | None,
        center: _Operand | None,
        scale: _Operand | None,
        shift: _Operand | None,
        y: _Operand | None,
        stride: _Ints,
        padding: _Ints,
        dilation: _Ints,
        activation: int,
        alpha: float,
        before_activation: int,
        before_alpha: float,
        pooled: _Operand | None = None,
        windows: _Windows | None = None,
    ) -> None: ...
    @staticmethod
    def separable_conv_pools(
        x: _Operand,
        depthwise: _Weights,
        pointwise: _Weights,
        stride: _Ints,
        padding: _Ints,
        dilation: _Ints,
        pooled: _Operand,
        windows: _Windows,
    ) -> bool: ...
    def prepare(self, threads: int = 0) -> None: ...
    # Results are arrays of the kind of the first input; with `timed`, also the seconds of each step.
    @overload
    def run(self, inputs: Sequence[_Array], timed: Literal[False] = False, threads: int = 0) -> list[_Array]: ...
    @overload
    def run(
        self, inputs: Sequence[_Array], timed: Literal[True], threads: int = 0
    ) -> tuple[list[_Array], list[float]]: ...
    @property
    def arena_bytes(self) -> int: ...
    @property
    def largest_bytes(self) -> int: ...
    @property
    def kernels(self) -> list[str]: ...
