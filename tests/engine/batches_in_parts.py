"""Makes plans cut batches of small images, too."""

from __future__ import annotations

import math

import pytest
from neocog.engine import batches


def cut_all_batches(monkeypatch: pytest.MonkeyPatch, cached: int) -> None:
    """Steps that read and write more than so many bytes are done in parts, whatever that costs."""
    monkeypatch.setattr(batches, "CACHED", cached)
    if cached < 1 << 20:
        monkeypatch.setattr(batches, "_WEIGHTS", 0)
        monkeypatch.setattr(batches, "_OPERATIONS", math.inf)
        monkeypatch.setattr(batches, "_PIXELS", 1)
