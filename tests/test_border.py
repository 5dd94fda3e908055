"""What every call passes on its way to a kernel: arrays as images, and checks whose results are remembered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neocog import ops
from neocog._arrays import images
from neocog._checks import remembered

SIZES = st.integers(0, 3)


@st.composite
def arrays(draw: st.DrawFn, spatial: int) -> np.ndarray:
    """An array of images of any order of the axes in memory, perhaps with gaps, perhaps without a batch axis."""
    ndim = spatial + draw(st.integers(1, 2))
    order = draw(st.permutations(range(ndim)))
    steps = [draw(st.sampled_from([1, 1, 1, 2, -1])) for _ in range(ndim)]
    shape = [draw(SIZES) * abs(step) for step in steps]
    whole = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape([shape[axis] for axis in order])
    array: np.ndarray = whole.transpose(np.argsort(order))[tuple(slice(None, None, step) for step in steps)]
    return array


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC", "NCL", "NLC"])
@given(data=st.data())
def test_images_are_views_of_what_is_dense(data_format: str, data: st.DataObject) -> None:
    spatial = len(data_format) - 2
    array = data.draw(arrays(spatial))
    last = data_format[-1] == "C"
    given_batch = array.ndim == spatial + 2
    whole = array if given_batch else array[None]
    if spatial == 1:
        whole = np.expand_dims(whole, 1 if last else 2)
    logical = whole.transpose(0, 3, 1, 2) if last else whole
    dense = {False: logical.flags.c_contiguous, True: logical.transpose(0, 2, 3, 1).flags.c_contiguous}

    own = last if dense[False] == dense[True] else dense[True]
    for asked in (None, False, True):
        taken = images("x", array, data_format, spatial, channels_last=asked)
        assert taken.batched == given_batch
        assert taken.channels_last == (own if asked is None else asked)
        np.testing.assert_array_equal(taken.array, logical)
        in_layout = taken.array.transpose(0, 2, 3, 1) if taken.channels_last else taken.array
        assert in_layout.flags.c_contiguous
        if array.size > 0:
            assert np.shares_memory(taken.array, array) == dense[taken.channels_last]


@pytest.mark.parametrize("data_format", ["NCWH", None, ["NCHW"], 7])
def test_a_data_format_that_is_none_is_named(data_format: object) -> None:
    with pytest.raises(ValueError, match=r"`data_format` is .*; it must be 'NCHW' or 'NHWC'\."):
        images("x", np.zeros((1, 2, 3, 4), np.float32), data_format)  # type: ignore[arg-type]


def test_what_is_plain_is_remembered() -> None:
    calls = []

    @remembered
    def double(value: object, text: str | None = None) -> list[object]:
        """Twice."""
        calls.append(value)
        return [value, value]

    assert double((1, 2), "a") is double((1, 2), "a")
    assert double(3) is double(3)
    assert calls == [(1, 2), 3]
    assert double.__doc__ == "Twice."


@pytest.mark.parametrize("other", [True, 1.0, np.int64(1), (True, 2), (1.0, 2), (np.int64(1), 2), [1, 2], ((1, 2),)])
def test_what_is_equal_but_of_another_type_is_not(other: object) -> None:
    kinds = []

    @remembered
    def kind_of(value: object) -> str:
        kinds.append(value)
        return repr(value)

    assert kind_of(1) == "1"
    assert kind_of((1, 2)) == "(1, 2)"
    assert kind_of(other) == repr(other)


def test_errors_do_not_depend_on_earlier_calls() -> None:
    x = np.zeros((1, 2, 4, 4), np.float32)
    for _ in range(2):
        ops.avg_pool2d(x, (1, 2))
        with pytest.raises(TypeError, match="`kernel_size` is True"):
            ops.avg_pool2d(x, (True, 2))
        with pytest.raises(TypeError, match=r"`kernel_size` is 1\.0"):
            ops.avg_pool2d(x, (1.0, 2))
