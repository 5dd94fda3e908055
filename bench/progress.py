"""One line on a terminal's stderr that says what is being measured; nothing where stderr is no terminal."""

from __future__ import annotations

import shutil
import sys

WIDTH = 24


class Progress:
    def __init__(self, total: int) -> None:
        self._total, self._done, self._shown = total, 0, sys.stderr.isatty()

    def step(self, doing: str, part: float = 0.0) -> None:
        """Show what is being done; `part` of the current step is behind us."""
        if not self._shown:
            return
        share = min(1.0, (self._done + part) / max(1, self._total))
        bar = ("#" * round(share * WIDTH)).ljust(WIDTH, ".")
        line = f"[{bar}] {share:4.0%} {doing}"[: shutil.get_terminal_size().columns - 1]
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def next(self) -> None:
        self._done += 1

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
