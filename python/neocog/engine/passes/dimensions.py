"""Sizes that are known only when a graph runs, as polynomials in a canonical form: equal sizes compare equal.

A size is an int or an `Expression`. Its unknowns are names of sizes, or formulas such as `floor((h + 1) / 2)`, which
stand for themselves. Two expressions that compare equal are equal for all images; the converse need not hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product as pairs
from typing import Union

Monomial = tuple[str, ...]  # unknowns, sorted; a square has its unknown twice


@dataclass(frozen=True)
class Expression:
    """A sum of terms, coefficient times monomial, sorted; never a mere number."""

    terms: tuple[tuple[Monomial, int], ...]

    @cached_property
    def _text(self) -> str:
        terms = (
            "*".join((*([str(factor)] if factor != 1 or not names else []), *names)) for names, factor in self.terms
        )
        return " + ".join(terms)

    def __str__(self) -> str:
        return self._text


Dim = Union[int, Expression]  # noqa: UP007 (an alias that runs on Python 3.10 with a class defined above)


def named(name: str) -> Expression:
    """A size by its name, which is quoted so that it cannot be taken for a formula."""
    return Expression((((repr(name),), 1),))


def formula(function: str, *arguments: object) -> Expression:
    """A size that is computed from others, for which there is nothing simpler to write."""
    return Expression((((f"{function}({', '.join(map(str, arguments))})",), 1),))


def _terms(dim: Dim) -> dict[Monomial, int]:
    return {(): dim} if isinstance(dim, int) else dict(dim.terms)


def _canonical(terms: dict[Monomial, int]) -> Dim:
    kept = {names: factor for names, factor in terms.items() if factor}
    if not kept.keys() - {()}:
        return kept.get((), 0)
    return Expression(tuple(sorted(kept.items())))


def add(*dims: Dim) -> Dim:
    if all(isinstance(dim, int) for dim in dims):
        return sum(dim for dim in dims if isinstance(dim, int))
    total: Counter[Monomial] = Counter()
    for dim in dims:
        for names, factor in _terms(dim).items():
            total[names] += factor
    return _canonical(total)


def multiply(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    total: Counter[Monomial] = Counter()
    for (names, factor), (others, other) in pairs(_terms(a).items(), _terms(b).items()):
        total[tuple(sorted(names + others))] += factor * other
    return _canonical(total)


def product(dims: Iterable[Dim]) -> Dim:
    total: Dim = 1
    for dim in dims:
        total = multiply(total, dim)
    return total


def floor_divide(dim: Dim, by: int) -> Dim:
    """floor(dim / by), with whole multiples of `by` taken out: the same for all ways to write it."""
    if isinstance(dim, int):
        return dim // by
    whole = {names: factor // by for names, factor in dim.terms}
    rest = _canonical({names: factor % by for names, factor in dim.terms})
    return add(_canonical(whole), rest // by if isinstance(rest, int) else formula("floor", f"({rest}) / {by}"))


def ceil_divide(dim: Dim, by: int) -> Dim:
    return floor_divide(add(dim, by - 1), by)


def quotient(dims: Sequence[Dim], by: Sequence[Dim]) -> Dim | None:
    """The product of `dims` over that of `by`, which divides it; None where that is not plain to see."""
    left = list(dims)
    rest = []
    for divisor in by:
        if divisor in left:
            left.remove(divisor)
        else:
            rest.append(divisor)
    over = product(rest)
    if not isinstance(over, int) or over == 0:
        return None
    terms = _terms(product(left))
    if any(factor % over for factor in terms.values()):
        return None
    return _canonical({names: factor // over for names, factor in terms.items()})


def broadcast(a: Dim, b: Dim) -> Dim | None:
    """What two sizes give together; None where only their values tell."""
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    for size in (a, b):  # the other is the same, or 1, or it is an error
        if isinstance(size, int):
            return size
    return None
