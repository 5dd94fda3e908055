"""The limits that rows are held against."""

from __future__ import annotations

import numpy as np
import pytest
from neocog import _core


def test_limits_are_positive_on_every_instruction_set(isa):
    assert _core.measure_fma_peak(1) > 1e6
    assert _core.measure_copy_bandwidth(2, 1 << 16) > 1e6
    assert _core.measure_read_bandwidth(2, 1 << 16) > 1e6


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(threads):
    with pytest.raises(ValueError, match="`threads` must be at least 1"):
        _core.measure_fma_peak(threads)


@pytest.mark.parametrize("measure", [_core.measure_copy_bandwidth, _core.measure_read_bandwidth])
@pytest.mark.parametrize("size", [0, -1, 1 << 40])
def test_memory_is_bounded(measure, size):
    with pytest.raises(ValueError, match="`bytes` must lie between"):
        measure(1, size)


def test_a_copy_copies(isa):
    source = np.random.default_rng(1).standard_normal(70_001).astype(np.float32)
    target = np.zeros_like(source)
    _core.run_copy(2, source, target)
    np.testing.assert_array_equal(target, source)
    assert _core.run_fma_chains(2) > 0


def test_a_copy_takes_writeable_vectors_of_one_size():
    vector = np.zeros(8, np.float32)
    with pytest.raises(ValueError, match="vectors of one size"):
        _core.run_copy(1, vector, np.zeros(9, np.float32))
    with pytest.raises(ValueError, match="contiguous"):
        _core.run_copy(1, vector, np.zeros(16, np.float32)[::2])
    vector.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _core.run_copy(1, np.zeros(8, np.float32), vector)
