"""Results are held against float64 before anything is timed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.ops.row import Array, Pass, Row
from bench.peers import Results, Torch

# Largest error allowed, as a part of the largest value of the same result. The longest sums of the table,
# 170 000 float32 products, err by 1.4e-5 where a library adds them one by one; a misplaced tap by 1e-2.
TOLERANCE = 5e-5


class WrongResult(Exception):
    """A contender does not compute what the row says."""


def expected(row: Row, pass_: Pass, arrays: Mapping[str, Array]) -> Results:
    """The row's results in float64: by PyTorch, or by the oracle of the tests where PyTorch is absent."""
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    if Torch.missing() is None:
        contender = Torch().build(row, pass_, wide)
        return contender.results(contender.call())
    return by_oracle(row, pass_, wide)


def by_oracle(row: Row, pass_: Pass, arrays: Mapping[str, Array]) -> Results:
    """The row's results by tests/reference.py."""
    prepare = row.neocog_forward if pass_ == "forward" else row.neocog_backward
    returned = prepare(_Oracle(), arrays)()
    if pass_ == "forward":
        return (returned[0] if isinstance(returned, tuple) else returned,)
    return tuple(returned)


class _Oracle:
    """tests/reference.py as `neocog.ops`: it knows no activation fused into a result, and rounds nothing."""

    def __init__(self) -> None:
        tests = str(Path(__file__).parents[1] / "tests")
        if tests not in sys.path:
            sys.path.append(tests)
        self._reference = importlib.import_module("reference")

    def __getattr__(self, name: str) -> Any:
        op = getattr(self._reference, name)
        if name.endswith("_backward"):
            return op

        def call(*args: Any, activation: str | None = None, precision: str = "fp32", **kwargs: Any) -> Any:
            result = op(*args, **kwargs)
            if activation is None:
                return result
            activate = getattr(self._reference, activation)
            return (activate(result[0]), *result[1:]) if isinstance(result, tuple) else activate(result)

        return call


@dataclass(frozen=True)
class Errors:
    """Of all results of a call, those of the worst."""

    largest: float  # error, as a part of the reference's largest value
    rms: float  # root mean square of the error, as a part of the reference's


def errors(results: Results, reference: Results, tolerance: float | None = None) -> Errors:
    """How far the results are from the reference.

    Raises:
        WrongResult: A result is missing, has another shape or dtype, or errs by more than `tolerance` (of the largest
            value; TOLERANCE by default).
    """
    allowed = TOLERANCE if tolerance is None else tolerance
    if len(results) != len(reference):
        raise WrongResult(f"returned {len(results)} arrays, not {len(reference)}")
    largest = rms = 0.0
    for i, (result, exact) in enumerate(zip(results, reference, strict=True)):
        if result.shape != exact.shape or result.dtype != np.float32:
            raise WrongResult(f"result {i} is {result.dtype} {result.shape}, not float32 {exact.shape}")
        off = result - exact
        error = float(np.max(np.abs(off)) / np.max(np.abs(exact)))
        if not error <= allowed:  # NaN is wrong too
            raise WrongResult(f"result {i} errs by {error:.1e} of its largest value; {allowed:.0e} is allowed")
        largest = max(largest, error)
        rms = max(rms, float(np.linalg.norm(off) / np.linalg.norm(exact)))
    return Errors(largest, rms)
