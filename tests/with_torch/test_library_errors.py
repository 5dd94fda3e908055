"""torch.ops.neocog.*: what a kernel refuses, its fake refuses too, and both name the argument."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import neocog.torch.library  # noqa: E402, F401  the operators
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

OPS = torch.ops.neocog
ALL = [True, True, True]
X, W, V = torch.zeros(1, 2, 4, 4), torch.zeros(4, 2, 3, 3), torch.zeros(2)
REJECTED = {
    "dtype": (lambda: OPS.conv(X.half(), W.half(), None, [1], [0], [1], 1), TypeError, "`x` has dtype torch.float16"),
    "dtypes": (lambda: OPS.conv(X, W.double(), None, [1], [0], [1], 1), TypeError, "`weight` has dtype torch.float64"),
    "rank": (lambda: OPS.conv(X[0, 0], W, None, [1], [0], [1], 1), ValueError, "`x` has shape (4, 4)"),
    "ranks": (lambda: OPS.conv(X, W[0], None, [1], [0], [1], 1), ValueError, "`weight` has shape (2, 3, 3)"),
    "no channels": (lambda: OPS.conv(X[:, :0], W[:, :0], None, [1], [0], [1], 1), ValueError, "only its batch axis"),
    "channels": (lambda: OPS.conv(X[:, :1], W, None, [1], [0], [1], 1), ValueError, "`x` has 1 channels"),
    "groups": (lambda: OPS.conv(X, W[:3, :1], None, [1], [0], [1], 2), ValueError, "`groups` is 2"),
    "groups 0": (lambda: OPS.conv(X, W, None, [1], [0], [1], 0), ValueError, "`groups` is 0"),
    "bias": (lambda: OPS.conv(X, W, V, [1], [0], [1], 1), ValueError, "`bias` has shape (2,)"),
    "stride": (lambda: OPS.conv(X, W, None, [0], [0], [1], 1), ValueError, "`stride` is 0"),
    "strides": (lambda: OPS.conv(X, W, None, [1, 1, 1], [0], [1], 1), ValueError, "`stride` is (1, 1, 1)"),
    "padding": (lambda: OPS.conv(X, W, None, [1], [-1, 0], [1], 1), ValueError, "`padding` is -1"),
    "paddings": (lambda: OPS.conv(X, W, None, [1], [0, 0, 0], [1], 1), ValueError, "`padding` is [0, 0, 0]"),
    "kernel": (lambda: OPS.conv(X, W, None, [1], [0], [2], 1), ValueError, "exceeds the padded height 4 of `x`"),
    "grad_y": (
        lambda: OPS.conv_backward(X, X, W, [1], [0], [1], 1, ALL),
        ValueError,
        "`grad_y` has shape (1, 2, 4, 4); y needs (1, 4, 2, 2)",
    ),
    "transposed channels": (
        lambda: OPS.conv_transpose(X, W, None, [1], [0], [0], 1, [1]),
        ValueError,
        "`x` has 2 channels",
    ),
    "output padding": (
        lambda: OPS.conv_transpose(X, W[:2], None, [1], [0], [1], 1, [1]),
        ValueError,
        "`output_padding` is [1]",
    ),
    "cropped away": (lambda: OPS.conv_transpose(X, W[:2], None, [1], [3], [0], 1, [1]), ValueError, "less padding"),
    "depthwise": (
        lambda: OPS.separable_conv(X, W, W[:, :, :1, :1], None, [1], [0], [1]),
        ValueError,
        "`depthwise_weight` has shape (4, 2, 3, 3)",
    ),
    "pointwise": (
        lambda: OPS.separable_conv(X, W[:2, :1], W, None, [1], [0], [1]),
        ValueError,
        "`pointwise_weight` has shape (4, 2, 3, 3)",
    ),
    "pool": (lambda: OPS.max_pool(X, [5], [], [0], [1], False), ValueError, "`kernel_size` is 5"),
    "pool padding": (lambda: OPS.max_pool(X, [2], [], [2], [1], False), ValueError, "`padding` is (2,)"),
    "divisor": (lambda: OPS.avg_pool(X, [2], [], [0], False, True, 0), ValueError, "`divisor_override` is 0"),
    "output size": (lambda: OPS.adaptive_avg_pool(X, [0]), ValueError, "`output_size` is 0"),
    "indices": (lambda: OPS.max_pool_backward(X, X, [4, 4], False), TypeError, "`indices` has dtype torch.float32"),
    "in_size": (lambda: OPS.adaptive_avg_pool_backward(X, [4], False), ValueError, "`in_size` is [4]"),
    "mean": (lambda: OPS.batch_norm_inference(X, V[:1], V, None, None, 0.1), ValueError, "`mean` has shape (1,)"),
    "no batch": (lambda: OPS.batch_norm_training(X[:0], V, V, 0.1), ValueError, "give it a batch"),
    "activation": (
        lambda: OPS.conv_bn_act_training(X, W, None, None, None, [1], [0], [1], 1, 0.1, "selu"),
        ValueError,
        "`activation` is 'selu'",
    ),
}


@pytest.mark.parametrize("fake", [False, True], ids=["kernel", "fake"])
@pytest.mark.parametrize("name", REJECTED)
def test_rejections_name_the_argument(name: str, fake: bool) -> None:
    call, error, message = REJECTED[name]
    if not fake:
        with pytest.raises(error) as raised:
            call()
    else:
        with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(error) as raised:
            call()
    assert message in str(raised.value)
