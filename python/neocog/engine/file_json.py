"""JSON that a stranger wrote: read strictly, and without trust in how deep or how long it is."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

MAX_DEPTH = 64  # a graph needs 8; the parser recurses, and a deep file must not end the process
MAX_DIGITS = 100  # of an integer: Python takes the square of their number in time

# What remains of a text of brackets: +1 for each that opens, -1 (255 in a byte) for each that closes.
_STEPS = bytes({ord("["): 1, ord("{"): 1}.get(byte, 255) for byte in range(256))
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class JsonError(ValueError):
    """A text that is not the JSON it should be; the message says what is wrong and where."""


def loads(text: str) -> Any:
    """Parse JSON as RFC 8259 has it: no NaN, no infinity, no key twice, only Unicode that can be written again.

    Raises:
        JsonError: It is something else, or nested deeper than `MAX_DEPTH`.
    """
    try:
        raw = text.encode()
        depth = _depth(raw)
        if depth > MAX_DEPTH:
            raise JsonError(f"is nested {depth} deep, where {MAX_DEPTH} is the most")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short,
        )
        if "\\u" in text:  # an escape can make half of a surrogate pair, a string that nothing can print
            json.dumps(value, ensure_ascii=False).encode()
    except JsonError:
        raise
    except UnicodeEncodeError as error:
        raise JsonError("holds half of a surrogate pair, which is no Unicode text") from error
    except (ValueError, RecursionError) as error:
        raise JsonError(f"is not JSON: {error}") from error
    return value


def dumps(value: Any) -> str:
    """The shortest JSON of a value, in the order of its keys.

    Raises:
        ValueError: It holds a float that is not finite, or a string that is no Unicode text.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text.encode()
    return text


def _depth(raw: bytes) -> int:
    """How deep the brackets outside strings are nested, without recursion; anything may come in."""
    outside = b"".join(raw.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    steps = np.frombuffer(outside.translate(_STEPS, _NO_BRACKETS), np.int8)
    return int(np.cumsum(steps, dtype=np.int32).max(initial=0))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonError(f"has the key {twice!r} twice")
    return made


def _refuse_constant(text: str) -> Any:
    raise JsonError(f"holds {text}, which JSON has not")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonError(f"holds the number {text[:MAX_DIGITS]}, which is beyond float64")
    return value


def _short(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise JsonError(f"holds an integer of {len(text)} digits")
    return int(text)
