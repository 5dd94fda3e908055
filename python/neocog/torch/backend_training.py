"""torch.compile with gradients: the forward and the backward graph, whose heavy operators call our kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx

from neocog.torch import kernels
from neocog.torch.backend_counts import count_ours, count_torchs
from neocog.torch.kernels import Unsupported
from neocog.torch.patch import OPERATORS

Statistics = tuple[Tensor, Tensor, Tensor]


def _batch_norm_functional(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """aten::_native_batch_norm_legit_functional: new running statistics instead of written ones."""
    mean, var = running_mean.clone(), running_var.clone()
    return *kernels.native_batch_norm(x, weight, bias, mean, var, training, momentum, eps), mean, var


def _batch_norm_no_training(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> Statistics:
    """aten::_native_batch_norm_legit_no_training."""
    return kernels.native_batch_norm(x, weight, bias, running_mean, running_var, False, momentum, eps)


def _batch_norm_no_stats(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, training: bool, momentum: float, eps: float
) -> Statistics:
    """aten::_native_batch_norm_legit.no_stats."""
    return kernels.native_batch_norm(x, weight, bias, None, None, training, momentum, eps)


_KERNELS: dict[str, Callable[..., Any]] = {
    **{f"aten.{name}.default": function for name, function in OPERATORS.items()},
    "aten._native_batch_norm_legit_functional.default": _batch_norm_functional,
    "aten._native_batch_norm_legit_no_training.default": _batch_norm_no_training,
    "aten._native_batch_norm_legit.no_stats": _batch_norm_no_stats,
}


def compile_training(graph: fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
    """The graph with our kernels in the places of aten's; what they do not compute runs on torch's, and is counted."""
    for node in graph.graph.nodes:
        if node.op == "call_function" and str(node.target) in _KERNELS:
            node.target = _with_fallback(node.target, _KERNELS[str(node.target)])
    graph.recompile()
    return boxed(graph.forward)


def _with_fallback(operator: Any, kernel: Callable[..., Any]) -> Callable[..., Any]:
    name = str(operator).removesuffix(".default")
    count_ours(name)

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return kernel(*args, **kwargs)
        except Unsupported as unsupported:
            reason = str(unsupported)
        count_torchs(name, reason)
        return operator(*args, **kwargs)

    call.__name__ = call.__qualname__ = operator.name().replace("::", "_").replace(".", "_")
    return call


def boxed(function: Callable[..., Any]) -> Callable[[list[Any]], Any]:
    """A function that takes its arguments in a list, which it empties, as torch's compiled graphs are called."""

    def call(arguments: list[Any]) -> Any:
        given = tuple(arguments)
        arguments.clear()
        return function(*given)

    call._boxed_call = True  # type: ignore[attr-defined]
    return call
