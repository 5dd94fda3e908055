"""max_unpool with its gradient against the oracle, in both layouts."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from helpers import assert_same_layout, channels_last, lay_out, normal
from neocog import ops

CASES = {  # x of the pooling, kernel, stride, padding
    "halving": ((2, 17, 8, 8), 2, 2, 0),
    "odd_size": ((2, 5, 9, 11), 2, 2, 0),
    "overlapping": ((1, 4, 9, 11), 3, 2, 1),
    "one_channel": ((3, 1, 8, 6), 2, 2, 0),
    "many_images": ((9, 70, 6, 4), 2, 2, 0),
    "rectangular": ((1, 3, 9, 10), (3, 2), (3, 2), (0, 1)),
    "no_images": ((0, 3, 4, 4), 2, 2, 0),
}


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES.values(), ids=CASES)
def test_values_return_to_their_places(shape, kernel, stride, padding, layout, dtype, threads, rng):
    x = lay_out(normal(rng, shape, dtype), layout)
    y, indices = ops.max_pool2d(x, kernel, stride, padding, return_indices=True)
    back = ops.max_unpool2d(y, indices, kernel, stride, padding, shape[2:])
    np.testing.assert_array_equal(back, reference.max_unpool2d(y, indices, kernel, stride, padding, shape[2:]))
    assert back.dtype == dtype
    assert_same_layout(back, x)
    np.testing.assert_array_equal(ops.max_unpool2d(y, indices, kernel, stride, padding, shape), back)

    grad_y = lay_out(normal(rng, shape, dtype), layout)
    grad_x = ops.max_unpool2d_backward(grad_y, indices)
    np.testing.assert_array_equal(grad_x, reference.max_unpool2d_backward(grad_y, indices))
    assert grad_x.dtype == dtype
    assert_same_layout(grad_x, grad_y)


def test_the_size_is_the_smallest_that_a_pooling_could_have_had():
    y, places = np.ones((1, 1, 3, 3), np.float32), np.arange(9).reshape(1, 1, 3, 3)
    assert ops.max_unpool2d(y, places, 2).shape == (1, 1, 6, 6)
    assert ops.max_unpool2d(y, places, 3, 2, 1).shape == (1, 1, 5, 5)
    assert ops.max_unpool2d(y, places, 3, 2, 1, output_size=(6, 4)).shape == (1, 1, 6, 4)
    assert ops.max_unpool2d(y[0], places[0], 2, output_size=(1, 7, 6)).shape == (1, 7, 6)
    nhwc = ops.max_unpool2d(channels_last(y), channels_last(places), 2, output_size=(1, 7, 6, 1), data_format="NHWC")
    assert nhwc.shape == (1, 7, 6, 1)


def test_one_dimension(layout, dtype, rng):
    x = lay_out(normal(rng, (2, 5, 9), dtype), layout)
    y, indices = ops.max_pool1d(x, 2, return_indices=True)
    back = ops.max_unpool1d(y, indices, 2, output_size=9)
    np.testing.assert_array_equal(back, reference.max_unpool1d(y, indices, 2, output_size=(1, 9)))
    assert ops.max_unpool1d(y, indices, 2).shape == (2, 5, 8)
    grad_x = ops.max_unpool1d_backward(x, indices)
    np.testing.assert_array_equal(grad_x, np.take_along_axis(x, indices, axis=2))
    assert ops.max_unpool1d_backward(channels_last(x), channels_last(indices), data_format="NLC").shape == (2, 4, 5)


def test_the_last_of_equal_indices_stays(layout):
    x = lay_out(np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 2, 3, 4), layout)
    y = ops.max_unpool2d(x, np.full(x.shape, 5), 2)
    np.testing.assert_array_equal(y.reshape(2, -1)[:, 5], x[0, :, -1, -1])
    assert np.count_nonzero(y) == 2


X, PLACES = np.ones((2, 3, 2, 2), np.float32), np.zeros((2, 3, 2, 2), np.int64)
REJECTIONS = {
    "index_beyond": (lambda: ops.max_unpool2d(X, PLACES + 16, 2), ValueError, "`indices` holds 16.* 4 x 4 .* 0 to 15"),
    "index_negative": (lambda: ops.max_unpool2d(X, PLACES - 1, 2), ValueError, "`indices` holds -1"),
    "backward_beyond": (lambda: ops.max_unpool2d_backward(X, PLACES + 4), ValueError, "`indices` holds 4.* 2 x 2"),
    "backward_negative": (lambda: ops.max_unpool2d_backward(X, PLACES - 1), ValueError, "`indices` holds -1"),
    "indices_float": (lambda: ops.max_unpool2d(X, X, 2), TypeError, "`indices` has dtype float32"),
    "indices_shape": (lambda: ops.max_unpool2d(X, PLACES[:, :, :1], 2), ValueError, "`indices` has shape"),
    "backward_channels": (lambda: ops.max_unpool2d_backward(X[:, :2], PLACES), ValueError, "batch and channels"),
    "size_too_large": (lambda: ops.max_unpool2d(X, PLACES, 2, output_size=(6, 4)), ValueError, "height 6.* 3 and 5"),
    "size_too_small": (lambda: ops.max_unpool2d(X, PLACES, 2, output_size=(4, 2)), ValueError, "width 2.* 3 and 5"),
    "size_entries": (lambda: ops.max_unpool2d(X, PLACES, 2, output_size=(4, 4, 4)), ValueError, "`output_size` is"),
    "padding": (lambda: ops.max_unpool2d(X, PLACES, 2, 1, 2), ValueError, "`padding` is 2"),
    "kernel_0": (lambda: ops.max_unpool2d(X, PLACES, 0), ValueError, "`kernel_size` is 0"),
    "stride_0": (lambda: ops.max_unpool2d(X, PLACES, 2, 0), ValueError, "`stride` is 0"),
    "empty_image": (lambda: ops.max_unpool2d(X[:, :, :0], PLACES[:, :, :0], 2), ValueError, "at least one pixel"),
    "integers": (lambda: ops.max_unpool2d(PLACES, PLACES, 2), TypeError, "`x` has dtype int64"),
}


@pytest.mark.parametrize(("call", "error", "message"), REJECTIONS.values(), ids=REJECTIONS)
def test_a_rejection_names_its_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()
