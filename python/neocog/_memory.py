"""The memory of results."""

from __future__ import annotations

from neocog import _core


def empty_cache() -> int:
    """Give the memory that waits for the next large result back to the system; the bytes that waited.

    Results of 1 MB and more, arrays and tensors, lie in memory that is kept when they are deleted: the system clears
    fresh memory page by page, which can take longer than computing what goes there. At most 256 MB wait, or as much as
    brings what is held back to the most that was ever in use at once, but no more than a quarter of the machine's
    memory.

    Example:
        >>> neocog.empty_cache()
    """
    return _core.free_kept_memory()
