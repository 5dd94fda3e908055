"""aten's reductions and softmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from neocog.engine.importers.aten_importer import Importer
from neocog.engine.importers.aten_registry import Result, Unsupported, Value, converts

Axes = Sequence[int] | int | None


def _reduced(importer: Importer, op: str, x: Value, axes: Axes, keepdim: bool) -> str:
    return importer.emit(op, x, axes=x.axes(axes), keepdims=keepdim)


def _reduction(op: str) -> Callable[..., Result]:
    def convert(importer: Importer, x: Value, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Result:
        _check_dtype(x, dtype)
        return _reduced(importer, op, x, dim, keepdim)

    return convert


converts("mean", "mean.dim")(_reduction("mean"))
converts("sum", "sum.dim_IntList")(_reduction("sum"))
converts("prod", "prod.dim_int")(_reduction("prod"))
converts("amax", "max")(_reduction("max"))
converts("amin", "min")(_reduction("min"))
converts("logsumexp")(_reduction("log_sum_exp"))


def _extreme(op: str) -> Callable[..., Result]:
    """max.dim and min.dim: values and their indices, which the engine does not have."""

    def convert(importer: Importer, x: Value, dim: int, keepdim: bool = False) -> Result:
        return [_reduced(importer, op, x, dim, keepdim), None]

    return convert


converts("max.dim")(_extreme("max"))
converts("min.dim")(_extreme("min"))


@converts("linalg_vector_norm")
def vector_norm(
    importer: Importer, x: Value, ord: float = 2, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None
) -> Result:
    _check_dtype(x, dtype)
    if ord == float("inf"):
        return _reduced(importer, "max", Value(importer.emit("abs", x), x.like), dim, keepdim)
    if ord not in (1, 2):
        raise Unsupported(f"a norm of the order {ord}")
    return _reduced(importer, f"norm{int(ord)}", x, dim, keepdim)


@converts("norm.ScalarOpt_dim")
def norm(importer: Importer, x: Value, p: float | None, dim: Axes, keepdim: bool = False) -> Result:
    return vector_norm(importer, x, 2 if p is None else p, dim, keepdim)


@converts("norm.Scalar")
def norm_of_all(importer: Importer, x: Value, p: float = 2) -> Result:
    return vector_norm(importer, x, p)


def _variance(
    importer: Importer, x: Value, dim: Axes, correction: float | None, keepdim: bool
) -> tuple[str, Callable[[], str]]:
    """The variance, and a function that adds the mean to the graph."""
    axes = x.axes(dim)
    mean = importer.emit("mean", x, axes=axes, keepdims=True)
    squares = importer.emit("square", importer.emit("sub", x, mean))
    correction = 1 if correction is None else correction
    if correction == 0:
        var = importer.emit("mean", squares, axes=axes, keepdims=keepdim)
    else:
        count: Any = 1
        for axis in axes:
            count = count * x.shape[axis]
        total = importer.emit("sum", squares, axes=axes, keepdims=keepdim)
        var = importer.emit("div", total, importer.scalar(count - correction))
    return var, lambda: mean if keepdim else importer.emit("squeeze", mean, axes=axes)


@converts("var.correction")
def var(
    importer: Importer, x: Value, dim: Axes = None, *, correction: float | None = None, keepdim: bool = False
) -> Result:
    return _variance(importer, x, dim, correction, keepdim)[0]


@converts("std.correction")
def std(
    importer: Importer, x: Value, dim: Axes = None, *, correction: float | None = None, keepdim: bool = False
) -> Result:
    return importer.emit("sqrt", _variance(importer, x, dim, correction, keepdim)[0])


@converts("var_mean.correction")
def var_mean(
    importer: Importer, x: Value, dim: Axes = None, *, correction: float | None = None, keepdim: bool = False
) -> Result:
    variance, mean = _variance(importer, x, dim, correction, keepdim)
    return [variance, mean()]


def _softmax(op: str) -> Callable[..., Result]:
    def convert(importer: Importer, x: Value, dim: int, *more: Any, dtype: Any = None) -> Result:
        _check_dtype(x, dtype if dtype is not None else next((m for m in more if isinstance(m, torch.dtype)), None))
        return importer.emit(op, x, axis=x.axis(dim))

    return convert


converts("softmax.int", "_softmax")(_softmax("softmax"))
converts("log_softmax.int", "_log_softmax")(_softmax("log_softmax"))


def _check_dtype(x: Value, dtype: Any) -> None:
    if dtype is not None and dtype != x.like.dtype:
        raise Unsupported(f"a result of {dtype} from {x.like.dtype}")
