"""The limits that rows are held against."""

from __future__ import annotations

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
