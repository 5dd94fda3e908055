"""What an oracle said last, for tests that ask it the same on every instruction set and in every layout."""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

KEPT = 8


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose last results are kept by the values of its arguments; arrays in them are read-only."""
    results: OrderedDict[Any, Any] = OrderedDict()

    @functools.wraps(function)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        key = (_key(arguments), _key(tuple(sorted(named.items()))))
        if key in results:
            results.move_to_end(key)
        else:
            results[key] = _frozen(function(*arguments, **named))
            if len(results) > KEPT:
                results.popitem(last=False)
        return results[key]

    return wrapper


def _key(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, hashlib.blake2b(np.ascontiguousarray(value)).digest()
    return tuple(map(_key, value)) if isinstance(value, tuple | list) else value


def _frozen(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, tuple):
        for part in value:
            _frozen(part)
    return value
