"""pad, concat, pixel_shuffle, inverses, gradients: the oracle's numbers exactly, for elements only move."""

from __future__ import annotations

import cases
import neocog
import numpy as np
import pytest
import reference
from helpers import assert_laid_out, assert_same_layout, assert_within, channels_last, lay_out, normal
from neocog import ops

# Beside the oracle's cases, those that this implementation treats in its own way.
PAD = cases.PAD | {
    "rows_wider_than_a_short_copy": ((2, 3, 4, 150), (1, 1, 1, 1), "constant"),
    "rows_longer_than_a_thread_takes": ((1, 1, 2, 40000), (3, 0, 0, 1), "reflect"),
    "many_rows": ((3, 17, 21, 43), (1, 2, 3, 0), "constant"),
    "one_side_only": ((2, 3, 4, 5), (0, 3, 0, 0), "constant"),
    "height_only_keeps_rows_whole": ((2, 3, 4, 5), (0, 0, 2, 1), "replicate"),
    "crops_everything_and_fills": ((1, 2, 3, 5), (-5, 4, 0, 0), "constant"),
    "crops_to_nothing": ((1, 2, 3, 4), (-2, -2, 0, 0), "constant"),
    "volume": ((2, 2, 3, 4, 5), (1, 1, 0, 2, 2, 1), "reflect"),
    "volume_without_batch": ((2, 3, 4, 5), (1, 1, 2, 1, 1, 0), "circular"),
    "image_without_batch": ((3, 4, 5), (1, 2, 0, 1), "replicate"),
    "signal_without_batch": ((3, 5), (2, 1), "reflect"),
    "circular_one_full_turn": ((1, 2, 3, 4), (4, 4, 3, 3), "circular"),
    "batch_0": ((0, 3, 4, 5), (1, 1, 1, 1), "reflect"),
    "empty_axis_is_filled": ((2, 3, 0, 4), (1, 0, 2, 1), "constant"),
}
SHUFFLE = cases.PIXEL_SHUFFLE | {
    "rows_longer_than_a_vector": ((2, 8, 3, 37), 2),
    "triples": ((1, 27, 4, 21), 3),
    "quadruples": ((1, 32, 3, 19), 4),
    "tuples_longer_than_any_loop": ((1, 50, 2, 11), 5),
    "more_than_a_thread_takes": ((2, 12, 70, 61), 2),
    "channels_fill_registers": ((1, 4 * 40, 3, 5), 2),
    "no_channels": ((1, 0, 2, 2), 2),
}


@pytest.mark.parametrize(("shape", "padding", "mode"), PAD.values(), ids=PAD)
def test_pad(shape, padding, mode, layout, dtype, rng):
    x = lay_out(normal(rng, shape, dtype), layout) if len(shape) > 1 else normal(rng, shape, dtype)
    value = {"value": 2.5} if mode == "constant" else {}
    y = ops.pad(x, padding, mode=mode, **value)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, reference.pad(x, padding, mode=mode, **value))
    if len(shape) > 1:
        assert_same_layout(y, x)


@pytest.mark.parametrize(("shape", "padding", "mode"), PAD.values(), ids=PAD)
def test_pad_backward(shape, padding, mode, layout, dtype, rng):
    expected_shape = reference.pad(np.zeros(shape), padding, mode=mode).shape
    grad_y = normal(rng, expected_shape, dtype)
    grad_y = lay_out(grad_y, layout) if len(shape) > 1 else grad_y
    grad_x = ops.pad_backward(grad_y, shape, padding, mode=mode)
    arguments = (shape, padding)
    expected = reference.pad_backward(grad_y, *arguments, mode=mode)
    copies = reference.pad_backward(np.ones(expected_shape), *arguments, mode=mode)
    magnitude = reference.pad_backward(abs(grad_y), *arguments, mode=mode)
    assert_within(grad_x, expected, magnitude, int(copies.max(initial=0)))
    assert grad_x.dtype == dtype
    if mode == "constant":
        np.testing.assert_array_equal(grad_x, expected)
    if len(shape) > 1:
        assert_same_layout(grad_x, grad_y)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.0])
def test_pad_fills_with_any_number_and_moves_any(value):
    y = ops.pad(np.array([1, np.nan, -np.inf], np.float32), (1, 1), value=value)
    np.testing.assert_array_equal(y, np.array([value, 1, np.nan, -np.inf, value], np.float32))
    assert np.signbit(y[0]) == np.signbit(np.float32(value))


def test_pad_of_an_array_without_axes_copies_it():
    x = np.array(3.0)
    y = ops.pad(x, ())
    assert y.shape == ()
    assert y == 3
    assert not np.shares_memory(x, y)


def test_nothing_to_pad_still_makes_a_new_array():
    x = np.ones((2, 3), np.float32)
    assert not np.shares_memory(ops.pad(x, (0, 0)), x)


@pytest.mark.parametrize("channels", [[3], [1, 2], [5, 2, 7], [4, 0, 3], [64, 64]])
def test_concat_of_channels(channels, layout, dtype, rng):
    arrays = [lay_out(normal(rng, (2, c, 5, 7), dtype), layout) for c in channels]
    y = ops.concat(arrays)
    np.testing.assert_array_equal(y, reference.concat(arrays))
    assert y.dtype == dtype
    assert_laid_out(y, layout)
    parts = ops.concat_backward(y, channels)
    assert isinstance(parts, tuple)
    for part, array in zip(parts, arrays, strict=True):
        np.testing.assert_array_equal(part, array)
        assert_same_layout(part, y)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -4])
def test_concat_along_any_axis(axis, layout, rng):
    shapes = [[2, 3, 4, 5] for _ in range(3)]
    for size, shape in zip((1, 4, 2), shapes, strict=True):
        shape[axis] = size
    arrays = [lay_out(normal(rng, shape), layout) for shape in shapes]
    y = ops.concat(arrays, axis=axis)
    np.testing.assert_array_equal(y, reference.concat(arrays, axis))
    assert_laid_out(y, layout)
    for part, array in zip(ops.concat_backward(y, (1, 4, 2), axis=axis), arrays, strict=True):
        np.testing.assert_array_equal(part, array)


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4), (1, 2, 1, 3, 2, 2)])
def test_concat_of_any_rank(shape, rng):
    arrays = [normal(rng, shape), normal(rng, shape)]
    np.testing.assert_array_equal(ops.concat(arrays, axis=0), np.concatenate(arrays, 0))
    np.testing.assert_array_equal(ops.concat(arrays, axis=-1), np.concatenate(arrays, -1))


@pytest.mark.parametrize("shape", [(2, 17, 9, 11), (1, 64, 30, 31), (1, 3, 40, 41), (2, 300, 3, 3), (1, 600, 9, 70)])
def test_concat_of_both_layouts_turns_one_of_them(shape, isa, dtype, rng):
    first, last = normal(rng, shape, dtype), lay_out(normal(rng, shape, dtype), "NHWC")
    y = ops.concat([first, last, first])
    np.testing.assert_array_equal(y, np.concatenate([first, last, first], 1))
    assert_laid_out(y, "NCHW")


VIEWS = {  # what a caller may hand over: x is (4, 6, 10, 12)
    "crop": lambda x: x[1:3, 2:5, 3:9, 1:8],
    "every_other_column": lambda x: x[..., ::2],
    "every_other_row": lambda x: x[:, :, ::2],
    "backwards": lambda x: x[::-1, :, ::-1, ::-1],
    "channels_backwards": lambda x: x[:, ::-1],
    "broadcast": lambda x: np.broadcast_to(x[:1, :, :1, :1], (3, 6, 4, 5)),
    "columns_first": lambda x: x.transpose(3, 2, 1, 0),
    "rows_and_columns_swapped": lambda x: x.swapaxes(2, 3),
    "pairs": lambda x: x[:, :, :, :2],
    "one_column": lambda x: x[..., 3:4],
    "read_only": lambda x: np.lib.stride_tricks.as_strided(x, writeable=False),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_strided_views(view, isa, dtype, rng):
    x = view(normal(rng, (4, 6, 10, 12), dtype))
    dense = x.copy()
    np.testing.assert_array_equal(ops.concat([x, dense]), np.concatenate([dense, dense], 1))
    np.testing.assert_array_equal(ops.concat([x, x], axis=3), np.concatenate([dense, dense], 3))
    np.testing.assert_array_equal(ops.concat_backward(x, [x.shape[1]])[0], dense)
    np.testing.assert_array_equal(ops.pad(x, (1, 2)), reference.pad(dense, (1, 2)))
    np.testing.assert_array_equal(ops.pixel_shuffle(x, 1), dense)
    if x.shape[1] % 4 == 0:
        np.testing.assert_array_equal(ops.pixel_shuffle(x, 2), reference.pixel_shuffle(dense, 2))
    if x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0:
        np.testing.assert_array_equal(ops.pixel_unshuffle(x, 2), reference.pixel_unshuffle(dense, 2))


@pytest.mark.parametrize(("shape", "factor"), SHUFFLE.values(), ids=SHUFFLE)
def test_pixel_shuffle_and_back(shape, factor, layout, dtype, rng):
    x = lay_out(normal(rng, shape, dtype), layout)
    y = ops.pixel_shuffle(x, factor)
    np.testing.assert_array_equal(y, reference.pixel_shuffle(x, factor))
    assert y.dtype == dtype
    assert_same_layout(y, x)
    for inverse in (ops.pixel_unshuffle, ops.pixel_shuffle_backward):
        back = inverse(y, factor)
        np.testing.assert_array_equal(back, x)
        assert_same_layout(back, y)
    np.testing.assert_array_equal(ops.pixel_unshuffle_backward(x, factor), y)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3), (1, 2, 2)])
def test_pixel_shuffle_takes_any_batch_axes_in_both_formats(batch, rng):
    x = normal(rng, (*batch, 8, 3, 5))
    y = ops.pixel_shuffle(x, 2)
    np.testing.assert_array_equal(y, reference.pixel_shuffle(x, 2))
    last = np.ascontiguousarray(np.moveaxis(x, -3, -1))
    y_last = ops.pixel_shuffle(last, 2, data_format="NHWC")
    np.testing.assert_array_equal(y_last, np.moveaxis(y, -3, -1))
    assert y_last.flags.c_contiguous
    np.testing.assert_array_equal(ops.pixel_unshuffle(y_last, 2, data_format="NHWC"), last)


def test_one_channel_in_nhwc_shape_stays_channels_last(rng):
    y = ops.pixel_unshuffle(normal(rng, (2, 4, 6, 1)), 2, data_format="NHWC")
    assert y.flags.c_contiguous


def test_unbatched_channels_last_image_keeps_its_layout(rng):
    x = np.moveaxis(normal(rng, (6, 7, 3)), -1, 0)
    for y in (
        ops.pad(x, (1, 1, 1, 1)),
        ops.concat([x, x], axis=0),
        ops.pixel_shuffle(ops.concat([x] * 4, axis=0), 2),
    ):
        assert np.moveaxis(y, 0, -1).flags.c_contiguous


def test_same_bits_for_any_number_of_threads(threads, layout, rng):
    x = lay_out(normal(rng, (2, 12, 60, 70)), layout)
    grad = lay_out(normal(rng, (2, 12, 80, 80)), layout)
    padding = (4, 6, 12, 8)
    results = [
        ops.pad(x, padding, mode="reflect"),
        ops.pad_backward(grad, x.shape, padding, mode="reflect"),
        ops.concat([x, x, x]),
        ops.pixel_shuffle(x, 2),
    ]
    neocog.set_num_threads(1)
    again = [
        ops.pad(x, padding, mode="reflect"),
        ops.pad_backward(grad, x.shape, padding, mode="reflect"),
        ops.concat([x, x, x]),
        ops.pixel_shuffle(x, 2),
    ]
    for result, one in zip(results, again, strict=True):
        assert result.tobytes() == one.tobytes()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_pad_backward_is_the_adjoint(mode, rng):
    x = normal(rng, (2, 3, 5, 6), np.float64)
    padding = (4, 3, 2, 4)
    y = ops.pad(x, padding, mode=mode)
    grad_y = normal(rng, y.shape, np.float64)
    grad_x = ops.pad_backward(grad_y, x.shape, padding, mode=mode)
    assert np.vdot(y, grad_y) == pytest.approx(np.vdot(x, grad_x), rel=1e-12)


def test_inputs_are_left_alone(rng):
    x = normal(rng, (1, 4, 3, 5))
    before = x.copy()
    x.flags.writeable = False
    results = [
        ops.pad(x, (1, 1)),
        ops.concat([x, x]),
        *ops.concat_backward(x, [1, 3]),
        ops.pixel_shuffle(x, 2),
    ]
    for result in results:
        assert result.flags.writeable
        assert not np.shares_memory(result, x)
        result[...] = 7
    np.testing.assert_array_equal(x, before)


X = np.ones((2, 8, 4, 6), np.float32)
REJECTIONS = {
    "pad_integers": (
        lambda: ops.pad(np.ones((2, 3), int), (1, 1)),
        TypeError,
        r"`x` has dtype int64.*astype",
    ),
    "pad_no_array": (lambda: ops.pad([1.0], (1, 1)), TypeError, "`x` is a list"),
    "pad_int": (lambda: ops.pad(X, 1), TypeError, "`padding` is 1; it must be a sequence"),
    "pad_fraction": (lambda: ops.pad(X, (1, 0.5)), TypeError, "`padding` is 0.5; it must be an int"),
    "pad_odd": (
        lambda: ops.pad(X, (1, 1, 1)),
        ValueError,
        r"`padding` is \(1, 1, 1\); it must have two entries",
    ),
    "pad_more_axes": (lambda: ops.pad(X, (1,) * 10), ValueError, "pads 5 axes, but `x` has 4"),
    "pad_mode": (
        lambda: ops.pad(X, (1, 1), mode="mirror"),
        ValueError,
        "`mode` is 'mirror'; it must be one of",
    ),
    "pad_rank": (
        lambda: ops.pad(X, (1, 1), mode="reflect"),
        ValueError,
        "pads 1 of the 4 axes.*add entries of 0",
    ),
    "pad_value": (
        lambda: ops.pad(X, (1, 1, 0, 0), mode="reflect", value=1),
        ValueError,
        "`value` is 1, but mode",
    ),
    "pad_text_value": (
        lambda: ops.pad(X, (1, 1), value="1"),
        TypeError,
        "`value` is '1'; it must be a number",
    ),
    "pad_crop": (
        lambda: ops.pad(X, (-4, -3)),
        ValueError,
        "axis 3 of `x`.*has 6 elements, fewer than are cropped",
    ),
    "pad_crop_then_fill": (lambda: ops.pad(X, (-7, 9)), ValueError, "has 6 elements, fewer than are cropped"),
    "pad_reflect": (
        lambda: ops.pad(X, (6, 0, 0, 0), mode="reflect"),
        ValueError,
        "axis 3.*reaches at most 5",
    ),
    "pad_reflect_rows": (
        lambda: ops.pad(X, (0, 0, 0, 4), mode="reflect"),
        ValueError,
        "axis 2.*reaches at most 3",
    ),
    "pad_circular": (lambda: ops.pad(X, (7, 0, 0, 0), mode="circular"), ValueError, "at most one turn"),
    "pad_circular_crop": (lambda: ops.pad(X, (-3, 4, 0, 0), mode="circular"), ValueError, "keeps 3 elements"),
    "pad_replicate": (
        lambda: ops.pad(X, (-6, 0, 0, 0), mode="replicate"),
        ValueError,
        "would have 0; crop less",
    ),
    "pad_empty": (
        lambda: ops.pad(X[..., :0], (1, 1, 0, 0), mode="replicate"),
        ValueError,
        "is empty.*constant",
    ),
    "pad_overflow": (lambda: ops.pad(X, (2**31 - 1,) * 8), ValueError, "more than memory can address"),
    "pad_beyond_int": (
        lambda: ops.pad(X, (2**62, 0)),
        ValueError,
        "`padding` is 4611686018427387904; it must be at",
    ),
    "pad_backward_shape": (
        lambda: ops.pad_backward(X, (2, 8, 4, 5), (1, 1)),
        ValueError,
        r"`grad_y` has shape \(2, 8, 4, 6\); y has \(2, 8, 4, 7\)",
    ),
    "concat_nothing": (lambda: ops.concat([]), ValueError, "`arrays` is empty"),
    "concat_one_array": (
        lambda: ops.concat(X),
        TypeError,
        "`arrays` is a ndarray; it must be a list or tuple",
    ),
    "concat_no_array": (lambda: ops.concat([X, None]), TypeError, r"`arrays\[1\]` is a NoneType"),
    "concat_dtypes": (
        lambda: ops.concat([X, X.astype(float)]),
        TypeError,
        r"`arrays\[1\]` has dtype float64",
    ),
    "concat_ranks": (
        lambda: ops.concat([X, X[0]]),
        ValueError,
        r"`arrays\[1\]` has 3 axes.*`arrays\[0\]` has 4",
    ),
    "concat_sizes": (lambda: ops.concat([X, X[..., 1:]]), ValueError, "may differ in axis 1 only"),
    "concat_axis": (lambda: ops.concat([X], axis=4), ValueError, r"`axis` is 4.*must be in \[-4, 4\)"),
    "concat_axis_text": (lambda: ops.concat([X], axis="c"), TypeError, "`axis` is 'c'; it must be an int"),
    "split_sum": (
        lambda: ops.concat_backward(X, [3, 4]),
        ValueError,
        r"`sizes` is \(3, 4\), which adds up to 7.*8",
    ),
    "split_negative": (
        lambda: ops.concat_backward(X, [9, -1]),
        ValueError,
        "`sizes` is -1; it must be at least 0",
    ),
    "shuffle_channels": (lambda: ops.pixel_shuffle(X, 3), ValueError, r"8 channels.*upscale_factor\*\*2 = 9"),
    "shuffle_rank": (lambda: ops.pixel_shuffle(X[0, 0], 2), ValueError, "has 2 axes.*being C, H, W"),
    "shuffle_zero": (
        lambda: ops.pixel_shuffle(X, 0),
        ValueError,
        "`upscale_factor` is 0; it must be at least 1",
    ),
    "shuffle_text": (
        lambda: ops.pixel_shuffle(X, "2"),
        TypeError,
        "`upscale_factor` is '2'; it must be an int",
    ),
    "shuffle_format": (
        lambda: ops.pixel_shuffle(X, 2, data_format="NCL"),
        ValueError,
        "`data_format` is 'NCL'",
    ),
    "unshuffle_size": (lambda: ops.pixel_unshuffle(X, 4), ValueError, "4 pixels high and 6 wide.*pad"),
    "unshuffle_backward": (lambda: ops.pixel_unshuffle_backward(X, 3), ValueError, "downscale_factor.*= 9"),
}


@pytest.mark.parametrize(("call", "error", "message"), REJECTIONS.values(), ids=REJECTIONS)
def test_a_rejection_names_its_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_dlpack_objects_are_taken():
    class Tensor:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **arguments):
            return self.array.__dlpack__(**arguments)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    np.testing.assert_array_equal(ops.concat([Tensor(X), X]), np.concatenate([X, X], 1))
    assert channels_last(ops.pixel_shuffle(Tensor(X), 2)).shape == (2, 8, 12, 2)
