"""What of the graphs of torch.compile runs where: counted by operator, and said once."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any

_logger = logging.getLogger("neocog")
_counting = threading.Lock()
_ours: Counter[str] = Counter()
_torchs: dict[str, Counter[str]] = {}
_said: set[tuple[str, str]] = set()


def count_ours(operator: str, number: int = 1) -> None:
    """Count operators of a graph that run on neocog; a negative number takes them back."""
    with _counting:
        _ours[operator] += number


def count_torchs(operator: str, reason: str) -> None:
    """Count an operator of a graph that runs in torch, and say so the first time."""
    with _counting:
        _torchs.setdefault(operator, Counter())[reason] += 1
        first = (operator, reason) not in _said
        _said.add((operator, reason))
    if first:
        _logger.info("%s runs in torch: %s", operator, reason)


def stats(*, reset: bool = False) -> dict[str, dict[str, Any]]:
    """Count the operators of all graphs that torch.compile gave to the backend since the last reset.

    Args:
        reset: Start again from zero after this.
    Returns:
        By operator, as "aten.convolution": `neocog`, how many run there, and `torch`, for each reason how many run in
        torch. Views and sizes, which are no work, are not counted.
    """
    with _counting:
        names = sorted({name for name, number in _ours.items() if number} | set(_torchs))
        found = {name: {"neocog": _ours[name], "torch": dict(_torchs.get(name, {}))} for name in names}
        if reset:
            _ours.clear()
            _torchs.clear()
    return found
