"""Fixtures that tests share: seeded numbers, each instruction set of this CPU, threads, layout and dtype."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.register_assert_rewrite("helpers", "against_torch")

ISAS = ("scalar", "avx2", "avx512", "amx")
# Where products on AMX's tiles take part; elsewhere its kernels are those of AVX-512.
ON_TILES = {
    "test_batches",
    "test_conv",
    "test_conv_batch_norm",
    "test_conv_transpose",
    "test_import",
    "test_properties",
    "test_steps_images",
}
THREADS = (1, 2)
LAYOUTS = ("NCHW", "NHWC")


def available_isas() -> list[str]:
    """What this CPU runs; only NEOCOG_ISA where that is set."""
    forced = os.environ.get("NEOCOG_ISA")
    if forced:
        return [forced]
    try:
        from neocog import _core
    except ImportError:  # the package's own tests will say so; the oracle's need no ISA
        return ["scalar"]
    return [isa for isa in ISAS if isa in _core.available_isas()]


def bf16_units() -> list[tuple[str, str]]:
    """What this CPU multiplies bfloat16 numbers with: an instruction set, and one of its units."""
    from neocog import _core

    units = [(isa, "emulated") for isa in available_isas() if isa != "amx"]
    if "avx512" in available_isas():
        units += [("avx512", unit) for unit in _core.available_bf16_units() if unit != "emulated"]
    return units


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Workers share the processors: what waits there must not spin, and the oracles' products need no threads."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Neighbouring tests to one worker, for what the oracles remember."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "isa" in metafunc.fixturenames:
        on_tiles = metafunc.module.__name__.rpartition(".")[2] in ON_TILES
        isas = [isa for isa in available_isas() if isa != "amx" or on_tiles]
        metafunc.parametrize("isa", isas or available_isas(), indirect=True)
    if "bf16_unit" in metafunc.fixturenames:
        metafunc.parametrize("bf16_unit", bf16_units(), ids="-".join, indirect=True)


def name_of_data(nodeid: str) -> str:
    """The name of a test without its instruction set and layout: the same numbers suit them all."""
    name, _, case = nodeid.split("::", 1)[1].partition("[")
    return "-".join([name, *(part for part in case.rstrip("]").split("-") if part not in (*ISAS, *LAYOUTS))])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the same numbers follow each other: the oracle remembers what it said last."""
    first: dict[str, int] = {}
    for i, item in enumerate(items):
        first.setdefault(item.nodeid.split("::")[0] + name_of_data(item.nodeid), i)
    items.sort(key=lambda item: first[item.nodeid.split("::")[0] + name_of_data(item.nodeid)])


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers seeded by the name of the test: alone or in the suite, it sees the same ones."""
    return np.random.default_rng(zlib.crc32(name_of_data(request.node.nodeid).encode()))


@pytest.fixture
def rng_of_its_own(request: pytest.FixtureRequest) -> np.random.Generator:
    """Other numbers on every instruction set and in every layout, for tests that ask no oracle twice."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.split("::", 1)[1].encode()))


@pytest.fixture
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once per instruction set, with the kernels of that one."""
    from neocog import _core

    before = _core.active_isa()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(before)


@pytest.fixture
def without_tiles() -> Iterator[None]:
    """Vectors alone."""
    from neocog import _core

    before = _core.active_isa()
    if before == "amx":
        _core.set_isa("avx512")
    yield
    _core.set_isa(before)


@pytest.fixture
def bf16_unit(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once per instruction set with bfloat16 emulated, and once per unit that multiplies it."""
    from neocog import _core

    isa, unit = request.param
    before = _core.active_isa()
    if "avx512" in _core.available_isas():
        _core.set_isa("avx512")  # where units other than this one show
    unit_before = _core.active_bf16_unit()
    _core.set_isa(isa)
    _core.set_bf16_unit(unit)
    yield unit
    _core.set_bf16_unit(unit_before)
    _core.set_isa(before)


@pytest.fixture(params=THREADS, ids=lambda n: f"threads{n}")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Runs the test once per thread count."""
    import neocog

    before = neocog.get_num_threads()
    neocog.set_num_threads(request.param)
    yield request.param
    neocog.set_num_threads(before)


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    """How images lie in memory, whatever the order of their axes; see `helpers.lay_out`."""
    return request.param


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> type[np.floating]:
    return request.param


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """torch on one thread: on small arrays its pool costs more than it gives, above all on a busy machine."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what did not run because an optional package is absent, so that a green run is not misread."""
    absent: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if "could not import" in reason:
            place = report.nodeid or report.longrepr[0]
            absent[f"{place.split('::')[0]}: {reason.removeprefix('Skipped: ')}"] += 1
    if absent:
        terminalreporter.section("not run: an optional package is absent")
        for line, count in sorted(absent.items()):
            terminalreporter.line(line if count == 1 else f"{line} ({count} tests)")
