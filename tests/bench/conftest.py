"""Benches that do not wait."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `bench` is part of the repository, not of the package

from bench_rows import LIMITS, REPORTED, TINY  # noqa: E402

import bench.ops  # noqa: E402
from bench import limits, timing  # noqa: E402


@pytest.fixture
def no_wait(monkeypatch):
    """One call per sample, and small probes."""
    monkeypatch.setattr(limits.Probes, "ELEMENTS", 1 << 10)
    monkeypatch.setattr(timing, "LEAST_SAMPLE", 0.0)


@pytest.fixture
def quick(monkeypatch, no_wait):
    """One tiny row in each set and no waiting for the limits."""
    monkeypatch.setitem(bench.ops.SETS, bench.ops.STANDARD, TINY[:1])
    monkeypatch.setitem(bench.ops.SETS, "complaints", [REPORTED])
    monkeypatch.setattr(limits, "measure", lambda threads: replace(LIMITS, threads=threads))
