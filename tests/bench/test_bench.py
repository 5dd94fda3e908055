"""The logic of the benches: what rows count, what the check lets pass, what is reported; never a time."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import neocog
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `bench` is part of the repository, not of the package

from bench_rows import REACH, TINY  # noqa: E402

import bench.ops  # noqa: E402
from bench import check, limits, peers, report, timing  # noqa: E402
from bench.compare import Comparison, Outcome, compare, start  # noqa: E402
from bench.ops.conv import Conv, SubnormalConv  # noqa: E402
from bench.ops.row import PASSES  # noqa: E402

# GFLOP and MB of the forward pass as published with the first measurements of the peers.
PUBLISHED = {
    "conv 3x3 64>64 @56": ("1.85", "13"),
    "conv 3x3 256>256 @14": ("1.85", "5.6"),
    "conv 3x3 stride 2 128>128 @56": ("1.85", "16.6"),
    "stem 7x7 stride 2 3>64 @224": ("1.89", "30"),
    "pointwise 728>728 @19": ("3.06", "18.9"),
    "depthwise 3x3 128 @147": ("0.40", "177"),
    "depthwise 3x3 728 @19": ("0.04", "16.8"),
    "depthwise 5x5 stride 2 96 @56": ("0.03", "12.1"),
    "depthwise 7x7 96 @56": ("0.24", "19.3"),
    "conv 3x3 dilation 4 128>128 @56": ("7.40", "26"),
    "conv 3x3 32 groups 256>256 @28": ("0.23", "12.9"),
    "transpose 2x2 stride 2 128>64 @64": ("2.15", "50"),
    "transpose 3x3 stride 2 128>128 @32": ("2.42", "21.6"),
    "transpose 4x4 stride 2 64>32 @64": ("2.15", "25"),
    "transpose 9x9 stride 4 56>3 @64": ("0.89", "13.7"),
    "conv1d k80 stride 4 1>128 @16000": ("0.65", "16.9"),
    "conv1d k3 128>128 @4000": ("3.15", "33"),
    "conv1d k3 dilation 64 64>64 @16000": ("3.15", "66"),
    "transpose 1d k4 stride 2 128>64 @4000": ("2.10", "33"),
    "max pool 3x3 stride 2 64 @112": ("-", "32"),
    "average pool 2x2 128 @56": ("-", "16"),
    "global average 2048 @10": ("-", "6.6"),
    "batch norm, training 64 @112": ("-", "51"),
    "batch norm + ReLU, training 256 @56": ("-", "51"),
}


def test_the_rows_are_the_published_ones():
    assert sorted(row.name for row in bench.ops.ROWS) == sorted(PUBLISHED)


@pytest.mark.parametrize("row", bench.ops.ROWS, ids=lambda row: row.name)
def test_a_row_counts_what_was_published(row):
    gflop, megabytes = PUBLISHED[row.name]
    assert (f"{row.flops('forward') / 1e9:.2f}" if row.flops("forward") else "-") == gflop
    assert row.flops("backward") == 2 * row.flops("forward")
    last_digit = 0.1 if "." in megabytes else 1
    assert abs(row.bytes("forward") / 1e6 - float(megabytes)) < last_digit


def test_every_complaint_has_its_issue_and_a_name_of_its_own():
    complaints = bench.ops.SETS["complaints"]
    assert [row.name for row in complaints if not re.fullmatch(r"\w+#\d+", row.issue or "")] == []
    names = [row.name for rows in bench.ops.SETS.values() for row in rows]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("row", bench.ops.SETS["complaints"], ids=lambda row: row.name)
def test_a_complaint_is_a_geometry(row):
    assert min(row.y) > 0
    assert 0 < row.bytes("forward") < 200e6
    assert row.flops("backward") == 2 * row.flops("forward") < 10e9


def test_half_of_the_subnormal_filters_are_subnormal():
    (row,) = (row for row in TINY if isinstance(row, SubnormalConv))
    filters = abs(row.arrays()["weight"]).max((1, 2, 3))
    assert list((filters > 0) & (filters < np.finfo(np.float32).tiny)) == [True, False] * 2


@pytest.mark.parametrize("row", TINY, ids=lambda row: row.name)
@pytest.mark.parametrize("pass_", PASSES)
def test_a_row_means_the_same_to_torch_and_to_the_oracle(row, pass_):
    pytest.importorskip("torch")
    wide = {name: array.astype(np.float64) for name, array in row.arrays().items()}
    exact = check.by_oracle(row, pass_, wide)
    by_torch = check.expected(row, pass_, row.arrays())
    assert [a.shape for a in by_torch] == [a.shape for a in exact]
    assert exact[0].shape == (row.y if pass_ == "forward" else row.x)
    for ours, theirs in zip(exact, by_torch, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * abs(ours).max())


@pytest.mark.parametrize("row", TINY, ids=lambda row: row.name)
@pytest.mark.parametrize("pass_", PASSES)
def test_every_installed_contender_passes_the_check(row, pass_):
    found, _ = peers.find([name for name, peer in peers.PEERS.items() if peer.missing() is None])
    for peer in found:
        with peer.session(1):
            for entry in peer.entries(row, pass_):
                contender = entry.build(row, pass_, row.arrays())
                errors = check.errors(contender.results(contender.call()), check.expected(row, pass_, row.arrays()))
                assert errors.largest < check.TOLERANCE
                assert errors.rms < check.TOLERANCE


def test_the_check_lets_rounding_pass(rng):
    exact = rng.standard_normal((2, 3, 4, 5))
    errors = check.errors((exact.astype(np.float32),), (exact,))
    assert 0 < errors.largest < 1e-7
    assert 0 < errors.rms < 1e-7


def test_errors_are_those_of_the_worst_result_each_as_a_part_of_its_own_size():
    exact = np.array([3.0, -4.0, 0.0, 0.0])
    off = np.array([3.0, -4.0, 0.0, 2.0**-16], np.float32)  # by 2**-16 of a largest value of 4 and a norm of 5
    assert check.errors((off,), (exact,)) == check.Errors(2.0**-18, 2.0**-16 / 5)
    right = exact.astype(np.float32)
    assert check.errors((right, off, right), (exact,) * 3) == check.errors((off,), (exact,))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda y: np.roll(y, 1, axis=-1), "errs by"),
        (lambda y: y * np.float32(1 + 1.1 * check.TOLERANCE), "errs by"),
        (lambda y: np.where(y == y.max(), np.float32(np.nan), y), "errs by nan"),
        (lambda y: y[..., :-1], r"not float32 \(2, 3, 4, 5\)"),
        (lambda y: y.astype(np.float64), "is float64"),
    ],
    ids=["one_pixel_off", "just_beyond_the_tolerance", "one_nan", "one_column_short", "another_dtype"],
)
def test_the_check_rejects_a_wrong_result(spoil, message, rng):
    exact = rng.standard_normal((2, 3, 4, 5))
    with pytest.raises(check.WrongResult, match=message):
        check.errors((spoil(exact.astype(np.float32)),), (exact,))


def test_the_check_rejects_a_missing_gradient(rng):
    exact = rng.standard_normal(3)
    with pytest.raises(check.WrongResult, match="1 arrays, not 2"):
        check.errors((exact.astype(np.float32),), (exact, exact))


def test_rounds_run_every_call_and_every_other_one_backwards(monkeypatch):
    monkeypatch.setattr(timing, "LEAST_SAMPLE", 0.0)  # one call per sample
    ran: list[str] = []
    calls = [lambda name=name: ran.append(name) for name in "abc"]
    rounds: list[int] = []
    samples = timing.interleaved(calls, 3, rounds.append)
    assert [len(times) for times in samples] == [3, 3, 3]
    assert rounds == [0, 1, 2]
    # Calibration takes the calls in turn; where a round ends, the next one begins with the same call.
    assert "".join(name for name, _ in groupby(ran)) == "abc" + "abcbabc"


def test_ratios_are_the_peer_s_time_over_ours():
    def outcome(peer: str, last: bool, *samples: float) -> Outcome:
        return Outcome(peer, "", last, list(samples))

    two = [outcome("neocog", False, 2.0), outcome("neocog", True, 1.0)]
    theirs = [outcome("torch", False, 3, 5, 4), outcome("torch", True, 9)]
    fast = Comparison(TINY[0], "forward", 2, [*two, *theirs], REACH)
    assert (fast.ratio("torch"), fast.ratio("torch", False), fast.ratio("torch", True)) == (4.0, 2.0, 9.0)
    slow = Comparison(TINY[1], "forward", 2, [*two, outcome("torch", False, 0.25)], REACH)
    assert (slow.ratio("torch"), slow.ratio("torch", True), slow.ratio("onnxruntime")) == (0.25, None, None)
    assert report.mean([fast, slow], "torch") == pytest.approx(1.0)
    assert report.worst_row([fast, slow], "torch") is slow
    lines = list(report.table([fast, slow]))
    assert lines[-1] == "worst against torch: grouped, dilated, 0.25"
    assert lines[-2].split() == ["geometric", "mean", "0.50", "9.00", "1.00"]


def test_a_contender_that_fails_is_reported_and_the_others_are_timed(monkeypatch):
    def broken(self, ops, a, data_format=None):
        if data_format == "NHWC":
            raise RuntimeError("no such kernel")
        return lambda: np.zeros(self.y, np.float32)

    monkeypatch.setattr(Conv, "neocog_forward", broken)
    monkeypatch.setattr(check, "expected", lambda row, pass_, arrays: (np.ones(row.y),))
    (comparison,) = compare(TINY[0], "forward", [peers.Neocog()], 1, [limits.Probes(1)])
    outcomes = comparison.outcomes
    assert [o.samples for o in outcomes] == [[], []]
    assert outcomes[0].failure.startswith("WrongResult: result 0 errs by 1.0e+00")
    assert outcomes[1].failure == "RuntimeError: no such kernel"


class Watched(peers.Peer):
    """A peer that computes the right thing, and notes its calls and the threads it had."""

    name = "watched"

    def __init__(self, spoil_first: bool = False) -> None:
        self.ran: list[int] = []
        self._threads, self._spoil_first = 0, spoil_first

    @staticmethod
    def missing() -> None:
        return None

    def version(self) -> str:
        return "1"

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        before, self._threads = self._threads, threads
        yield
        self._threads = before

    def entries(self, row, pass_):
        yield peers.Entry(self.name, "NCHW", False, self._build)

    def _build(self, row, pass_, arrays) -> peers.Contender:
        exact = check.expected(row, pass_, arrays)

        def call():
            self.ran.append(self._threads)
            return tuple(y.astype(np.float32) * (2 if self._spoil_first and len(self.ran) == 1 else 1) for y in exact)

        return peers.Contender(call, lambda returned: returned, setup=100.0)


def test_the_first_call_is_the_one_that_is_checked_and_setup_belongs_to_it():
    watched = Watched()
    (comparison,) = compare(TINY[0], "forward", [watched], 1, [limits.Probes(1)])
    assert comparison.outcomes[0].first > 100
    assert comparison.outcomes[0].seconds < 100
    (comparison,) = compare(TINY[0], "forward", [wrong := Watched(spoil_first=True)], 1, [limits.Probes(1)])
    assert "errs by 1.0e+00" in comparison.outcomes[0].failure
    assert len(wrong.ran) == 1


@pytest.mark.usefixtures("no_wait")
def test_thread_counts_take_turns_in_every_round():
    watched = Watched()
    one, two = compare(TINY[0], "forward", [watched], 3, [limits.Probes(1), limits.Probes(2)])
    assert (one.threads, two.threads) == (1, 2)
    assert [len(c.outcomes[0].samples) for c in (one, two)] == [3, 3]
    # First calls, calibration, and rounds of which every other one goes backwards.
    assert [threads for threads, _ in groupby(watched.ran)] == [1, 2, 1, 2, 1, 2, 1, 2]


@pytest.mark.usefixtures("no_wait")
def test_a_contender_computes_with_the_threads_of_its_comparison(monkeypatch):
    seen = []

    def watch(self, ops, a, **data_format):
        def call():
            seen.append(neocog.get_num_threads())
            return ops.conv2d(a["x"], a["weight"], a["bias"], **self.steps, **data_format)

        return call

    monkeypatch.setattr(Conv, "neocog_forward", watch)
    before = neocog.get_num_threads()
    compare(TINY[0], "forward", [peers.Neocog()], 1, [limits.Probes(1), limits.Probes(3)])
    assert neocog.get_num_threads() == before
    assert set(seen) == {1, 3}
    # Two layouts, each called first, to calibrate, and twice in the round.
    assert seen.count(1) == seen.count(3)


def test_a_session_inside_another_gives_its_threads_back():
    found, _ = peers.find([name for name, peer in peers.PEERS.items() if peer.missing() is None])
    for peer in found:
        threads = {"neocog": neocog.get_num_threads}
        if peer.name == "torch":
            threads["torch"] = pytest.importorskip("torch").get_num_threads
        elif peer.name == "onnxruntime":
            threads["onnxruntime"] = lambda peer=peer: peer._threads
        with peer.session(2):
            with peer.session(1):
                assert threads[peer.name]() == 1
            assert threads[peer.name]() == 2


def test_a_library_that_cannot_start_is_left_to_the_rows():
    class Broken(Watched):
        def _build(self, row, pass_, arrays):
            raise RuntimeError("no such kernel")

    start([Broken(), watched := Watched()], 2)
    assert watched.ran == [2, 2]  # forward and backward


def test_an_absent_peer_is_named_and_skipped(monkeypatch):
    monkeypatch.setattr(peers.OnnxRuntime, "missing", staticmethod(lambda: "not installed"))
    found, absent = peers.find(["onnxruntime"])
    assert [peer.name for peer in found] == ["neocog"]
    assert absent == {"onnxruntime": "not installed"}


def test_columns_on_demand_hold_the_first_call_and_the_rms_error():
    ours = [Outcome("neocog", "NCHW", False, [1.0], 3e-7, None, 2e-7, 5.0)]
    ours.append(Outcome("neocog", "NHWC", True, [1.0], 1e-7, None, 4e-7, 6.0))
    theirs = Outcome("torch", "NCHW", False, [2.0], 5e-7, None, 6e-7, 7.0)
    row = Comparison(TINY[0], "forward", 1, [*ours, theirs], REACH)
    *_, line, mean, worst = report.table([row], report.SHOWN)
    times, rest = line.split()[3:9], line.split()[13:]
    assert times == ["1000.0", "1000.0", "2000.0", "5000.0", "6000.0", "7000.0"]
    assert rest == ["3e-07", "5e-07", "4e-07", "6e-07", "2.00", "2.00"]
    assert mean.split() == ["geometric", "mean", "2.00", "2.00"]
    assert worst == "worst against torch: strided, 2.00"
    assert len(mean) == len(line)
