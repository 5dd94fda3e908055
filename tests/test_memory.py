"""The memory that results lie in: kept for the next one, within limits, and given back on request."""

from __future__ import annotations

import threading

import neocog
import numpy as np
import pytest
from neocog import _core, ops

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def _nothing_kept():
    neocog.empty_cache()
    yield
    neocog.empty_cache()


def result(megabytes: float) -> np.ndarray:
    return ops.relu(np.ones(int(megabytes * MEGABYTE / 4), np.float32))


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


KEEPS = "address" not in _core.build_info()["sanitizer"]  # AddressSanitizer must see every release


def test_a_large_result_takes_the_place_of_one_that_is_gone():
    if not KEEPS:
        pytest.skip("memory is not kept under AddressSanitizer")
    first = result(8)
    place = address(first)
    second = result(8)
    assert address(second) != place
    del first
    third = result(7.5)  # wastes less than an eighth
    assert address(third) == place
    assert (second == 1).all()
    assert (third == 1).all()


def test_empty_cache_says_how_much_waited_and_leaves_results_alone():
    gone, here = result(8), result(4)
    del gone
    assert neocog.empty_cache() == (8 * MEGABYTE if KEEPS else 0)
    assert neocog.empty_cache() == 0
    assert (here == 1).all()


def test_small_results_do_not_wait():
    small = result(0.5)
    del small
    assert neocog.empty_cache() == 0


def test_what_waits_stays_below_the_most_that_was_in_use():
    held = [result(10) for _ in range(30)]
    held.clear()
    assert neocog.empty_cache() == (300 * MEGABYTE if KEEPS else 0)
    for megabytes in range(2, 40):  # 779 MB of sizes that do not fit each other well, never more than one in use
        gone = result(megabytes)
        del gone
    assert neocog.empty_cache() <= 256 * MEGABYTE


def test_threads_get_memory_of_their_own():
    wrong: list[int] = []

    def work(value: int) -> None:
        for _ in range(30):
            y = ops.relu(np.full(MEGABYTE, value, np.float32))
            if not (y == value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
