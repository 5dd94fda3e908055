"""The helpers of the tests themselves: a bound that could not fail would hide everything."""

from __future__ import annotations

import helpers
import numpy as np
import pytest


@pytest.mark.parametrize(("dtype", "allowed"), [(np.float32, 4), (np.float64, 8)])
def test_the_bound_accepts_what_it_allows_and_nothing_more(dtype, allowed):
    eps, one = np.finfo(dtype).eps, np.ones((2, 3), dtype)
    helpers.assert_within(one + dtype(allowed * eps), one, 1.0, terms=2)
    with pytest.raises(AssertionError, match=r"6 of 6 values err by more than \(2 \+ 2\)"):
        helpers.assert_within(one + dtype((allowed + 1) * eps), one, 1.0, terms=2)


def test_the_bound_rejects_nan_and_shape():
    one = np.ones((2, 3), np.float32)
    y = one.copy()
    y[1, 2] = np.nan
    with pytest.raises(AssertionError, match=r"1 of 6 values .* worst at \(1, 2\)"):
        helpers.assert_within(y, one, 1.0, terms=100)
    with pytest.raises(AssertionError, match="shape"):
        helpers.assert_within(one[:1], one, 1.0, terms=100)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4)])
def test_a_layout_changes_memory_and_not_values(layout, shape):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    y = helpers.lay_out(x, layout)
    np.testing.assert_array_equal(y, x)
    helpers.assert_laid_out(y, layout)
    with pytest.raises(AssertionError, match="not dense"):
        helpers.assert_laid_out(y, "NHWC" if layout == "NCHW" else "NCHW")
    helpers.assert_same_layout(y, y[:, :, ::-1][:, :, ::-1])
    with pytest.raises(AssertionError, match="not the same memory layout"):
        helpers.assert_same_layout(helpers.lay_out(x, "NCHW"), helpers.lay_out(x, "NHWC"))


def test_one_channel_is_in_both_layouts():
    helpers.assert_same_layout(
        helpers.lay_out(np.ones((2, 3, 4, 5)), "NCHW"), helpers.lay_out(np.ones((2, 1, 4, 5)), "NHWC")
    )
