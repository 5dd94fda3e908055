"""How functions become `torch.ops.neocog.<name>`: schema, CPU kernel, fake kernel, gradient, autocast and vmap.

`torch.library.register_autograd` does not fit: it adds 10 us to a call without gradients and 40 us to one with, and its
operators refuse torch.func's transforms. What it builds is built here, with fewer hops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import _C, Tensor
from torch._functorch import autograd_function as _functorch
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

Gradients = Sequence[Tensor | None]
_PLAIN_CPU = (_C.DispatchKeySet(_C.DispatchKey.CPU) | _C.DispatchKeySet(_C.DispatchKey.AutogradCPU)).raw_repr()

_library: Any = torch.library.Library("neocog", "DEF")  # type: ignore[no-untyped-call]


def define(
    schema: str,
    cpu: Callable[..., Any],
    fake: Callable[..., Any],
    *,
    save: Callable[[Any, tuple[Any, ...], Any], None],
    backward: Callable[..., Gradients],
    folds: Callable[..., Sequence[int]],
) -> torch._ops.OpOverload:
    """Register an operator of the namespace `neocog`; returns its overload, which is what to call.

    Args:
        schema: In torch.library's language, positional arguments only.
        cpu: The kernel; called below autograd, in the order of the schema.
        fake: Results without data: shapes, strides and dtypes of the kernel's; the same errors.
        save: `(ctx, arguments, result)` keeps for the backward pass what it needs.
        backward: `(ctx, needed, *grads)` gives the gradients of the leading arguments; `needed` has a bool for every
            argument, and gradients that nothing flowed into are None.
        folds: Of the arguments, which of them have a batch axis that every result keeps, and into which vmap can
            fold its own; none if there are no such.
    """
    name = schema[: schema.index("(")]
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    op: torch._ops.OpOverload = getattr(torch.ops.neocog, name).default
    _library.impl(name, cpu, "CPU")
    torch.library.register_fake(f"neocog::{name}", fake, lib=_library)
    _library.impl(name, _autograd_kernel(name, op, cpu, save, backward), "Autograd", with_keyset=True)
    # The kernels compute nothing narrower than float32.
    torch.library.register_autocast(f"neocog::{name}", "cpu", torch.float32, lib=_library)
    torch.library.register_vmap(f"neocog::{name}", _vmap_rule(op, folds), lib=_library)
    return op


def define_composite(schema: str, function: Callable[..., Any]) -> None:
    """Register an operator that is a function of others, and inherits all it needs from them."""
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(schema[: schema.index("(")], function, "CompositeImplicitAutograd")


def _autograd_kernel(
    name: str,
    op: torch._ops.OpOverload,
    cpu: Callable[..., Any],
    save: Callable[[Any, tuple[Any, ...], Any], None],
    backward: Callable[..., Gradients],
) -> Callable[..., Any]:
    below_autograd = _C._after_autograd_keyset

    def run(keyset: Any, arguments: tuple[Any, ...]) -> Any:
        with _C._AutoDispatchBelowAutograd():
            if keyset.raw_repr() == _PLAIN_CPU:  # nobody else listens: the dispatcher would come to the same
                return cpu(*arguments)
            return op.redispatch(keyset & below_autograd, *arguments)

    def forward(ctx: Any, keyset: Any, *arguments: Any) -> Any:
        ctx.set_materialize_grads(False)
        if _C._are_functorch_transforms_active():
            with torch.enable_grad():  # which the level below may need; this one is past recording
                result = run(keyset, arguments)
        else:
            result = run(keyset, arguments)
        save(ctx, arguments, result)
        ctx.arguments = len(arguments)
        return result

    def apply_backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        found = tuple(backward(ctx, ctx.needs_input_grad[1:], *grads))
        return (None, *found, *(None,) * (ctx.arguments - len(found)))

    function: Any = type(
        f"neocog_{name}",
        (_SingleLevelFunction,),
        {"forward": staticmethod(forward), "backward": staticmethod(apply_backward)},
    )

    # Looked up once: this is on the way of every call that is not in inference mode.
    transforms_active, any_requires_grad = _C._are_functorch_transforms_active, _C._any_requires_grad
    is_grad_enabled = torch.is_grad_enabled

    def kernel(keyset: Any, *arguments: Any) -> Any:
        transforms = transforms_active()
        # Forward mode has no formula here: `apply` says so, where `run` would lose the tangents.
        if not (transforms or forward_ad._current_level >= 0) and not (
            is_grad_enabled() and any_requires_grad(*arguments)
        ):
            # Nothing records, so the plain kernel needs no guard against autograd either.
            return cpu(*arguments) if keyset.raw_repr() == _PLAIN_CPU else run(keyset, arguments)
        if transforms:
            with _functorch.enable_single_level_autograd_function():  # type: ignore[attr-defined]
                return function.apply(keyset, *arguments)
        return function.apply(keyset, *arguments)

    return kernel


def _vmap_rule(op: torch._ops.OpOverload, folds: Callable[..., Sequence[int]]) -> Callable[..., Any]:
    def rule(info: Any, in_dims: Sequence[Any], *arguments: Any) -> Any:
        size = info.batch_size
        mapped = [i for i, dim in enumerate(in_dims) if isinstance(dim, int)]
        folded = folds(*arguments)
        if mapped and set(mapped) <= set(folded):
            values = list(arguments)
            for i in folded:
                image = values[i]
                image = image.movedim(in_dims[i], 0) if i in mapped else image.expand(size, *image.shape)
                batch = image.shape[1]
                values[i] = image.flatten(0, 1)
            return _split(op(*values), size, batch)
        rows = []
        for row in range(size):
            values = [a.select(in_dims[i], row) if i in mapped else a for i, a in enumerate(arguments)]
            rows.append(op(*values))
        if isinstance(rows[0], Tensor):
            return torch.stack(rows), 0
        return tuple(torch.stack(column) for column in zip(*rows, strict=True)), (0,) * len(rows[0])

    return rule


def _split(result: Any, size: Any, batch: Any) -> Any:
    """Results with their mapped axis split off, and where it is; a gradient nobody asked for has none."""
    many = isinstance(result, (tuple, list))
    values, dims = [], []
    for y in result if many else (result,):
        folded = y.dim() > 1
        values.append(y.reshape(size, batch, *y.shape[1:]) if folded else y)
        dims.append(0 if folded else None)
    return (tuple(values), tuple(dims)) if many else (values[0], dims[0])
