"""What max_pool and avg_pool take and refuse: shapes, formats, padding alone, ceil_mode's edge, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from helpers import channels_last, lay_out, normal
from neocog import ops

IMAGE = np.arange(2 * 3 * 6 * 7, dtype=np.float32).reshape(2, 3, 6, 7)
SIGNAL = np.arange(2 * 3 * 8, dtype=np.float32).reshape(2, 3, 8)
INF = float("inf")


def test_data_format_orders_the_axes_of_the_shapes(layout, rng):
    x = lay_out(normal(rng, (2, 5, 7, 6)), layout)
    y, indices = ops.max_pool2d(x, 3, 2, 1, return_indices=True)
    swapped = ops.max_pool2d(channels_last(x), 3, 2, 1, return_indices=True, data_format="NHWC")
    for ours, other in zip((y, indices), swapped, strict=True):
        np.testing.assert_array_equal(other, channels_last(ours))
    grad_x = ops.max_pool2d_backward(channels_last(y), channels_last(indices), (7, 6), data_format="NHWC")
    np.testing.assert_array_equal(grad_x, channels_last(ops.max_pool2d_backward(y, indices, (7, 6))))
    average = ops.avg_pool2d(channels_last(x), 3, 2, data_format="NHWC")
    np.testing.assert_array_equal(average, channels_last(ops.avg_pool2d(x, 3, 2)))
    spread = ops.avg_pool2d_backward(average, (7, 6), 3, 2, data_format="NHWC")
    assert spread.shape == (2, 7, 6, 5)
    signal = channels_last(x[:, :, 0])
    np.testing.assert_array_equal(
        ops.max_pool1d(signal, 2, data_format="NLC"), channels_last(ops.max_pool1d(x[:, :, 0], 2))
    )


def test_the_batch_axis_may_be_missing():
    y, indices = ops.max_pool2d(IMAGE[0], 2, return_indices=True)
    assert y.shape == indices.shape == (3, 3, 3)
    assert ops.max_pool2d_backward(y, indices, (6, 7)).shape == (3, 6, 7)
    np.testing.assert_array_equal(ops.avg_pool2d(IMAGE[0], 2), ops.avg_pool2d(IMAGE, 2)[0])
    assert ops.avg_pool2d_backward(y, (6, 7), 2).shape == (3, 6, 7)
    np.testing.assert_array_equal(ops.avg_pool1d(SIGNAL[1], 3), ops.avg_pool1d(SIGNAL, 3)[1])


@pytest.mark.parametrize("shape", [(0, 3, 6, 6), (2, 0, 6, 6), (0, 0, 6, 6)])
def test_nothing_in_nothing_out(shape, layout):
    x = lay_out(np.zeros(shape, np.float32), layout)
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    assert y.shape == indices.shape == (*shape[:2], 3, 3)
    assert ops.max_pool2d_backward(y, indices, (6, 6)).shape == shape
    assert ops.avg_pool2d(x, 3, 1, 1).shape == shape
    assert ops.avg_pool2d_backward(y, (6, 6), 2).shape == shape


def test_any_strides_and_any_dlpack_exporter(rng):
    class Foreign:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **arguments):
            return self.array.__dlpack__(**arguments)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    whole = normal(rng, (4, 6, 12, 9))
    for x in (whole[::2, 1:, ::-2], whole.transpose(1, 0, 3, 2), np.broadcast_to(whole[:1], whole.shape)):
        before = x.copy()
        np.testing.assert_array_equal(ops.max_pool2d(x, 2), reference.max_pool2d(x, 2))
        np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(ops.max_pool2d(Foreign(whole), 2), ops.max_pool2d(whole, 2))
    y, indices = ops.max_pool2d(whole, 2, return_indices=True)
    for places in (indices.astype(np.int32), indices[::-1][::-1], np.asfortranarray(indices), Foreign(indices)):
        np.testing.assert_array_equal(
            ops.max_pool2d_backward(y, places, (12, 9)), reference.max_pool2d_backward(y, indices, (12, 9))
        )


def test_padding_that_no_window_leaves(layout, isa):
    """Only with both ends of the padding given: PyTorch's rule keeps it below the kernel."""
    x = lay_out(IMAGE[:1], layout)
    y, indices = ops.max_pool2d(x, 2, 2, ((2, 0), (4, 0)), return_indices=True)
    assert y.shape == (1, 3, 4, 5)
    assert (y[:, :, 0] == -INF).all()
    assert (y[..., :2] == -INF).all()
    assert (indices[:, :, 0] == -1).all()
    assert (indices[..., :2] == -1).all()
    np.testing.assert_array_equal(y[:, :, 1:, 2:], ops.max_pool2d(x, 2, 2))
    np.testing.assert_array_equal(ops.max_pool2d(x, 2, 2, ((2, 0), (4, 0))), y)
    grad_x = ops.max_pool2d_backward(np.ones_like(y), indices, (6, 7))
    assert grad_x.sum() == 3 * 3 * 3  # what windows of padding have is lost
    for counted in (True, False):
        average = ops.avg_pool2d(x, 2, 2, ((2, 0), (4, 0)), count_include_pad=counted)
        assert (average[:, :, 0] == 0).all()
        assert (average[..., :2] == 0).all()
        grad_x = ops.avg_pool2d_backward(np.ones_like(y), (6, 7), 2, 2, ((2, 0), (4, 0)), count_include_pad=counted)
        np.testing.assert_array_equal(grad_x[:, :, :, :6], 0.25)


def test_dilation_may_step_over_the_image():
    y, indices = ops.max_pool2d(IMAGE[:1, :, :, :1], (1, 2), 1, (0, 1), (1, 2), return_indices=True)
    assert (y == -INF).all()
    assert (indices == -1).all()


def test_ceil_mode_takes_a_window_that_does_not_fit():
    """PyTorch's rule: only a start inside counts, so a kernel may exceed the image."""
    x = np.float32([[[[1, 2, 3]]]])
    np.testing.assert_array_equal(ops.max_pool2d(x, (1, 4), (1, 4), ceil_mode=True), [[[[3]]]])
    np.testing.assert_array_equal(ops.avg_pool2d(x, (1, 4), (1, 4), ceil_mode=True), [[[[2]]]])  # 3 pixels
    np.testing.assert_array_equal(ops.avg_pool2d(x, (1, 2), (1, 2), ceil_mode=True), [[[[1.5, 3]]]])
    np.testing.assert_array_equal(
        ops.avg_pool2d_backward(np.float32([[[[6]]]]), (1, 3), (1, 4), (1, 4), ceil_mode=True), [[[[2, 2, 2]]]]
    )
    with pytest.raises(ValueError, match="`kernel_size` is 4"):
        ops.max_pool2d(x, (1, 4), (1, 1), ceil_mode=True)  # a step of 1 cannot reach as far


def test_same_averages_never_count_padding():
    y = ops.avg_pool2d(np.full((1, 1, 5, 5), 3, np.float32), 3, 2, "same", count_include_pad=True)
    np.testing.assert_array_equal(y, np.full((1, 1, 3, 3), 3))


X, Y = IMAGE, np.zeros((2, 3, 3, 3), np.float32)
PLACES = np.zeros((2, 3, 3, 3), np.int64)
REJECTIONS = {
    "integers": (lambda: ops.max_pool2d(X.astype(np.int32), 2), TypeError, r"`x` has dtype int32.*astype"),
    "float16": (lambda: ops.avg_pool2d(X.astype(np.float16), 2), TypeError, "`x` has dtype float16"),
    "a_list": (lambda: ops.max_pool2d([[1.0]], 2), TypeError, "`x` is a list"),
    "rank_2": (lambda: ops.max_pool2d(X[0, 0], 2), ValueError, "`x` has 2 axes"),
    "rank_4_signal": (lambda: ops.max_pool1d(X, 2), ValueError, "`x` has 4 axes"),
    "no_rows": (lambda: ops.max_pool2d(X[:, :, :0], 2), ValueError, "`x` has shape .* at least one pixel"),
    "no_columns": (lambda: ops.avg_pool2d(X[..., :0], 1), ValueError, "`x` has shape .* at least one pixel"),
    "format": (lambda: ops.max_pool2d(X, 2, data_format="CHWN"), ValueError, "`data_format` is 'CHWN'"),
    "kernel_0": (lambda: ops.max_pool2d(X, 0), ValueError, "`kernel_size` is 0"),
    "kernel_negative": (lambda: ops.avg_pool2d(X, (2, -1)), ValueError, "`kernel_size` is -1"),
    "kernel_float": (lambda: ops.max_pool2d(X, 2.0), TypeError, "`kernel_size` is 2.0"),
    "kernel_entries": (lambda: ops.max_pool2d(X, (2, 2, 2)), ValueError, "`kernel_size` is .* 2 entries"),
    "stride_0": (lambda: ops.max_pool2d(X, 2, 0), ValueError, "`stride` is 0"),
    "stride_negative": (lambda: ops.avg_pool2d(X, 2, -2), ValueError, "`stride` is -2"),
    "dilation_0": (lambda: ops.max_pool2d(X, 2, 1, 0, 0), ValueError, "`dilation` is 0"),
    "padding_negative": (lambda: ops.max_pool2d(X, 3, 1, -1), ValueError, "`padding` is -1"),
    "padding_text": (lambda: ops.max_pool2d(X, 3, 1, "full"), ValueError, "`padding` is 'full'"),
    "padding_exceeds_half": (lambda: ops.max_pool2d(X, 3, 1, 2), ValueError, "`padding` is 2, more than half"),
    "padding_exceeds_half_avg": (lambda: ops.avg_pool2d(X, (4, 1), 1, (2, 1)), ValueError, "more than half"),
    "kernel_exceeds_image": (lambda: ops.max_pool2d(X, 8), ValueError, "`kernel_size` is 8 .* exceeds .* height 6"),
    "dilated_kernel": (lambda: ops.max_pool2d(X, 3, 1, 0, (1, 4)), ValueError, "9 pixels.* exceeds .* width 7"),
    "kernel_exceeds_signal": (lambda: ops.avg_pool1d(SIGNAL, 9), ValueError, "`kernel_size` is 9"),
    "huge_kernel": (lambda: ops.max_pool2d(X, 2**31), ValueError, "`kernel_size` is 2147483648"),
    "huge_reach": (lambda: ops.max_pool2d(X, 2**31 - 1, 1, 0, 2**31 - 1), ValueError, "exceeds the padded"),
    "huge_result": (lambda: ops.max_pool2d(X, 1, 1, ((2**31 - 1,) * 2,) * 2), ValueError, "overflows"),
    "ceil_mode": (lambda: ops.max_pool2d(X, 2, ceil_mode="yes"), TypeError, "`ceil_mode` is 'yes'"),
    "return_indices": (lambda: ops.max_pool2d(X, 2, return_indices=1), TypeError, "`return_indices` is 1"),
    "count_include_pad": (lambda: ops.avg_pool2d(X, 2, count_include_pad=None), TypeError, "`count_include_pad`"),
    "divisor_0": (lambda: ops.avg_pool2d(X, 2, divisor_override=0), ValueError, "`divisor_override` is 0"),
    "divisor_float": (lambda: ops.avg_pool2d(X, 2, divisor_override=0.5), TypeError, "`divisor_override` is 0.5"),
    "grad_shape": (lambda: ops.avg_pool2d_backward(Y, (6, 7), 3), ValueError, "`grad_y` has shape .* 2 x 2"),
    "input_size": (lambda: ops.avg_pool2d_backward(Y, (0, 7), 2), ValueError, "`input_size` is 0"),
    "input_size_entries": (lambda: ops.max_pool2d_backward(Y, PLACES, (2, 3, 6, 7)), ValueError, "`input_size` is"),
    "index_beyond": (
        lambda: ops.max_pool2d_backward(Y, PLACES + 42, (6, 7)),
        ValueError,
        "`indices` holds 42.* 0 to 41",
    ),
    "index_negative": (lambda: ops.max_pool2d_backward(Y, PLACES - 2, (6, 7)), ValueError, "`indices` holds -2"),
    "index_far": (lambda: ops.max_pool2d_backward(Y, PLACES - 2**62, (6, 7)), ValueError, "`indices` holds -46116860"),
    "indices_float": (lambda: ops.max_pool2d_backward(Y, Y, (6, 7)), TypeError, "`indices` has dtype float32"),
    "indices_shape": (lambda: ops.max_pool2d_backward(Y, PLACES[:1], (6, 7)), ValueError, "`indices` has shape"),
    "indices_rank": (lambda: ops.max_pool2d_backward(Y[:1], PLACES[0], (6, 7)), ValueError, "`indices` has shape"),
}


@pytest.mark.parametrize(("call", "error", "message"), REJECTIONS.values(), ids=REJECTIONS)
def test_a_rejection_names_its_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("wrong", [42, -2, 2**40])
def test_one_wrong_index_among_many_is_found(wrong, layout, threads):
    places = lay_out(np.zeros((9, 5, 40, 30), np.int64), layout)
    grads = lay_out(np.ones(places.shape, np.float32), layout)
    places[7, 3, 20, 11] = wrong
    with pytest.raises(ValueError, match=f"`indices` holds {wrong}, .* 6 x 7"):
        ops.max_pool2d_backward(grads, places, (6, 7))
