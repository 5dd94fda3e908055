"""Is a model the same on our kernels? Every layer's output and every gradient, against stock PyTorch.

Layers are compared one by one: each gets on our kernels the very inputs, and the very gradients, that it has on
PyTorch's. Otherwise one rounding that tips a ReLU or moves the maximum of a pool would hide everything after it.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from neocog.torch.patch import patch, stats

FORWARD_BOUND, GRADIENT_BOUND = 1e-5, 1e-4


@dataclass(frozen=True)
class Comparison:
    """One tensor of the model, computed by both. Errors are parts of the tensor's largest value.

    Attributes:
        name: The layer's, the parameter's or the input's; a call's number where a layer is called again.
        kind: What it belongs to: "Conv2d", "parameter", "input".
        what: "output", or "gradient" (of a layer's output, of a parameter, of an input).
        shape: Of the tensor.
        largest: Its largest finite value, on PyTorch.
        error: The largest difference between ours and PyTorch's; inf where only one is NaN, or shapes differ.
        of_float64: The same of ours against float64, and `torch_of_float64` of PyTorch's; None where the model does
            not run in float64.
        bound: What `error` may be.
    """

    name: str
    kind: str
    what: str
    shape: tuple[int, ...]
    largest: float
    error: float
    of_float64: float | None
    torch_of_float64: float | None
    bound: float

    @property
    def ok(self) -> bool:
        """Within the bound, or excused."""
        return self.error <= self.bound or self.excused

    @property
    def excused(self) -> bool:
        """Beyond the bound, but no farther from float64 than PyTorch: so with sums that cancel to nothing."""
        return (
            self.error > self.bound
            and self.of_float64 is not None
            and self.torch_of_float64 is not None
            and self.of_float64 <= self.torch_of_float64 < math.inf
        )


@dataclass(frozen=True)
class Report:
    """What `check` found. `print` shows it as a table.

    Attributes:
        comparisons: One for each tensor, in the order in which PyTorch computed them.
        whole: The largest difference of the model's outputs when it runs as a whole, every layer on what the one
            before it gave, as a part of the largest output. Nothing bounds it: it says how far roundings carry.
        ran: Which operators ran where, as `neocog.torch.stats()` counts it.
    """

    comparisons: list[Comparison]
    whole: float
    ran: dict[str, dict[str, Any]]

    @property
    def ok(self) -> bool:
        """Whether every tensor is within its bound."""
        return all(c.ok for c in self.comparisons)

    def worst(self, what: str) -> Comparison | None:
        """The comparison of this kind ("output", "gradient") with the largest error that counts."""
        counting = (c for c in self.comparisons if c.what == what and not c.excused)
        return max(counting, key=lambda c: c.error, default=None)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        comparisons = [asdict(c) | {"ok": c.ok} for c in self.comparisons]
        return {"ok": self.ok, "whole": self.whole, "comparisons": comparisons, "ran": self.ran}

    def summary(self) -> Iterator[str]:
        """Lines about what ran where and how large the errors are."""
        for name, counts in sorted(self.ran.items()):
            elsewhere = "".join(f"; {count} on torch: {reason}" for reason, count in counts["torch"].items())
            yield f"aten::{name}: {counts['neocog']} on neocog{elsewhere}"
        if not any(counts["neocog"] for counts in self.ran.values()):
            yield "Nothing ran on neocog: the model has no convolution, pool or batch norm that it computes."
        for what, article in (("output", "an"), ("gradient", "a")):
            if (worst := self.worst(what)) is not None:
                name = worst.name or "the model"
                yield f"largest error of {article} {what}: {worst.error:.1e} ({name}), bound {worst.bound:.0e}"
        yield f"the model as a whole: outputs differ by {self.whole:.1e} of the largest"
        excused = sum(c.excused for c in self.comparisons)
        if excused:
            yield f"{excused} excused: beyond the bound, but nearer to float64 than PyTorch"
        broken = sum(not c.ok for c in self.comparisons)
        total = len(self.comparisons)
        yield f"{broken} of {total} tensors are wrong" if broken else f"all {total} tensors are right"

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The table's cells, the header first."""
        yield "tensor", "of", "shape", "largest", "error", "to float64", "PyTorch's", "bound", ""
        for c in self.comparisons:
            name = (c.name or "(model)") + ("" if c.what == "output" else ".grad")
            shape = "x".join(map(str, c.shape)) or "scalar"
            exact = ("-" if e is None else f"{e:.1e}" for e in (c.of_float64, c.torch_of_float64))
            verdict = "excused" if c.excused else "" if c.ok else "WRONG"
            yield name, c.kind, shape, f"{c.largest:.3g}", f"{c.error:.1e}", *exact, f"{c.bound:.0e}", verdict

    def __str__(self) -> str:
        return "\n".join([*_aligned(list(self.rows())), *self.summary()])

    def __rich__(self) -> Any:
        """rich, where it is installed, prints a table of its own."""
        from rich.console import Group
        from rich.table import Table

        header, *rows = self.rows()
        table = Table(*header)
        for row in rows:
            table.add_row(*row, style="bold red" if row[-1] == "WRONG" else None)
        return Group(table, *self.summary())


def check(
    model: nn.Module,
    inputs: Tensor | Sequence[Any],
    *,
    gradients: bool = True,
    seed: int = 0,
    forward_bound: float = FORWARD_BOUND,
    gradient_bound: float = GRADIENT_BOUND,
) -> Report:
    """Run a model on PyTorch's kernels and on ours, and compare every layer's output and every gradient.

    Each layer without children is given what it gets on PyTorch, so that errors do not add up along the model. The
    model is copied; its weights, buffers, gradients and training flag stay as they are. All runs draw the same random
    numbers (dropout), and gradients are those of the sum of all outputs, weighted at random.

    Args:
        model: Any module, in training or evaluation mode: that is how it runs.
        inputs: Its argument, or a sequence of all its positional arguments.
        gradients: Compare the gradients of parameters and of floating-point inputs too.
        seed: Of the random numbers.
        forward_bound: The largest difference of an output, as a part of that tensor's largest value.
        gradient_bound: The same for a gradient.
    Returns:
        A report: `report.ok`, `report.comparisons`, `print(report)`, `report.as_dict()`.
    Raises:
        TypeError: `model` is no module.
        Exception: Whatever the model raises on PyTorch's own kernels.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` is a {type(model).__name__}; it must be a torch.nn.Module.")
    arguments = (inputs,) if isinstance(inputs, Tensor) or not isinstance(inputs, tuple | list) else tuple(inputs)
    stock = _run(copy.deepcopy(model), arguments, gradients, seed, None)
    stats(reset=True)
    with patch():
        ours = _run(copy.deepcopy(model), arguments, gradients, seed, stock)
        ran = stats(reset=True)
        whole = _run(copy.deepcopy(model), arguments, False, seed, None)
    try:
        exact = _run(copy.deepcopy(model).double(), tuple(map(_double, arguments)), gradients, seed, stock)
    except (RuntimeError, TypeError):  # a model may insist on float32
        exact = _Tape()
    bounds = {"output": forward_bound, "gradient": gradient_bound}
    comparisons = [
        _compare(key, value, ours.tensors[key], exact.tensors.get(key), stock.kinds[key[1]], bounds)
        for key, value in stock.tensors.items()
    ]
    errors = [_distance(w, s, _largest(s)) for w, s in zip(whole.outputs, stock.outputs, strict=True)]
    return Report(comparisons, max(errors, default=0.0), ran)


_Key = tuple[str, str]  # "output" or "gradient", and the name


@dataclass
class _Tape:
    """What one run computed, in that order."""

    tensors: dict[_Key, Tensor] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    outputs: list[Tensor] = field(default_factory=list)


class _Given(torch.autograd.Function):
    """The output, and on the way back the gradient, that the layer has on PyTorch instead of its own."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, name: str, given: _Tape, tape: _Tape) -> Tensor:
        ctx.given, ctx.tape, ctx.key = given, tape, ("gradient", name)
        return given.tensors["output", name].to(y.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor, None, None, None]:
        ctx.tape.tensors[ctx.key] = grad_y
        return ctx.given.tensors[ctx.key].to(grad_y.dtype), None, None, None


def _run(model: nn.Module, arguments: tuple[Any, ...], gradients: bool, seed: int, given: _Tape | None) -> _Tape:
    """One forward and backward pass; with `given`, every layer on what that tape holds."""
    tape, calls = _Tape(), Counter[str]()

    def recorder(layer: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, y: Any) -> Any:
            calls[layer] += 1
            name = layer if calls[layer] == 1 else f"{layer} ({calls[layer]})"
            if isinstance(y, Tensor):
                return record(name, type(module).__name__, y)
            if isinstance(y, tuple):
                parts = [record(f"{name}[{i}]", type(module).__name__, part) for i, part in enumerate(y)]
                return type(y)(*parts) if hasattr(y, "_fields") else tuple(parts)
            return y

        return hook

    def record(name: str, kind: str, y: Any) -> Any:
        if not isinstance(y, Tensor) or not y.is_floating_point():
            return y
        # Copied: a later layer may work in place.
        tape.tensors["output", name] = y.detach().clone()
        tape.kinds[name] = kind
        if given is not None:
            return _Given.apply(y, name, given, tape)  # type: ignore[no-untyped-call]
        if y.requires_grad:
            hook = lambda grad: tape.tensors.update({("gradient", name): grad})  # noqa: E731
            y.register_hook(hook)  # type: ignore[no-untyped-call]
        return y

    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(seed)
        for layer, module in model.named_modules():
            if not any(True for _ in module.children()):
                stack.callback(module.register_forward_hook(recorder(layer)).remove)
        stack.enter_context(torch.enable_grad() if gradients else torch.no_grad())
        own = [_own(argument, gradients) for argument in arguments]
        outputs = list(_floats(model(*own)))
        tape.outputs = [y.detach() for y in outputs]
        outputs = [y for y in outputs if y.requires_grad]
        if not gradients or not outputs:
            return tape
        generator = torch.Generator().manual_seed(seed)
        weights = [torch.randn(y.shape, generator=generator).to(y.dtype) for y in outputs]
        wanted: list[tuple[str, str, Tensor]] = [
            (name, "parameter", p) for name, p in model.named_parameters() if p.requires_grad
        ]
        wanted += [(f"input {i}", "input", x) for i, x in enumerate(own) if isinstance(x, Tensor) and x.requires_grad]
        grads = torch.autograd.grad(outputs, [tensor for _, _, tensor in wanted], weights, allow_unused=True)
    for (name, kind, _), grad in zip(wanted, grads, strict=True):
        if grad is not None:
            tape.tensors["gradient", name] = grad
            tape.kinds[name] = kind
    return tape


def _own(argument: Any, gradients: bool) -> Any:
    """A tensor of this run's own, a leaf that wants its gradient."""
    if not isinstance(argument, Tensor):
        return argument
    copied = argument.detach().clone()
    return copied.requires_grad_() if gradients and copied.is_floating_point() else copied


def _double(argument: Any) -> Any:
    return argument.double() if isinstance(argument, Tensor) and argument.is_floating_point() else argument


def _floats(value: Any) -> Iterator[Tensor]:
    """Floating-point tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _floats(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _floats(item)


def _compare(
    key: _Key, theirs: Tensor, ours: Tensor, exact: Tensor | None, kind: str, bounds: dict[str, float]
) -> Comparison:
    what, name = key
    largest = _largest(theirs)
    return Comparison(
        name=name,
        kind=kind,
        what=what,
        shape=tuple(theirs.shape),
        largest=largest,
        error=_distance(ours, theirs, largest),
        of_float64=None if exact is None else _distance(ours, exact, largest),
        torch_of_float64=None if exact is None else _distance(theirs, exact, largest),
        bound=bounds[what],
    )


def _largest(tensor: Tensor) -> float:
    finite = tensor[tensor.isfinite()]
    return finite.abs().max().item() if finite.numel() else 0.0


def _distance(a: Tensor, b: Tensor, largest: float) -> float:
    """The largest difference as a part of `largest`; what is infinite or NaN must be so in both."""
    if a.shape != b.shape:
        return math.inf
    if not a.numel():
        return 0.0
    a, b = a.double(), b.double()
    same = (a == b) | (a.isnan() & b.isnan())
    difference = torch.where(same, 0.0, (a - b).abs()).max().item()
    if math.isnan(difference):
        return math.inf
    return 0.0 if difference == 0 else difference / largest if largest > 0 else math.inf


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Text columns; numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(w) if i < 3 or i == len(row) - 1 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
