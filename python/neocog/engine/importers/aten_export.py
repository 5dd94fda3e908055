"""torch.export as the importer needs it: which sizes stay open, and which operators stay whole."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils._sympy.printers import PythonPrinter

import neocog
from neocog.engine.importers.aten_registry import CONVERTERS, plain_sizes, same_size
from neocog.engine.importers.aten_whole import whole_operators

_logger = logging.getLogger("neocog")
_MOST_SPELLED = 4  # a message should be read
_OPEN, _FIXED = torch.export.Dim.AUTO, torch.export.Dim.STATIC
_TORCH = os.path.dirname(torch.__file__) + os.sep
_LAYERS = os.path.join(_TORCH, "nn") + os.sep
_OPERATORS = os.path.dirname(neocog.__file__) + os.sep + "torch" + os.sep


def export(module: nn.Module, example_inputs: tuple[Any, ...], *, dynamic: bool) -> torch.export.ExportedProgram:
    """Export a module with as many open sizes as it allows.

    Where its code asks about sizes (`if x.shape[2] > 32`), the program has the branch of the example alone: see
    `decisions`.
    """
    if not dynamic:
        return _export(module, example_inputs, None)
    # torch takes a size of 1 in an example for a size that is always 1; where it really is, two of them do not pass.
    attempts = [_doubled(example_inputs)]
    if _shapes(attempts[0]) != _shapes(example_inputs):
        attempts.append(example_inputs)
    for examples in attempts:
        # What a model allows is known by trying: one that can be exported for its example only is no error.
        try:
            return _with_open_sizes(module, examples, example_inputs)
        except Exception as error:
            _logger.info("torch.export cannot leave the sizes of this model open: %s", error)
    return _export(module, example_inputs, None)


def _with_open_sizes(
    module: nn.Module, examples: tuple[Any, ...], given: tuple[Any, ...]
) -> torch.export.ExportedProgram:
    program = _export(module, examples, _open_sizes(examples))
    if examples is not given and not _has_results_like(program, module, given):
        raise ValueError("a batch of 1 has results of another shape.")
    return program


def decomposed(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program in operators of the engine, as far as there are such; the others in torch's core operators."""
    table = torch.export.default_decompositions()
    for operator in [operator for operator in table if str(operator) in CONVERTERS]:
        del table[operator]
    with _quiet(), whole_operators():
        whole: torch.export.ExportedProgram = program.run_decompositions(table)
    return whole


def composites() -> list[Any]:
    """aten's operators that are functions of others and that the engine has: those that should stay whole."""
    table = torch.export.default_decompositions()
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    return [
        operator
        for operator in table
        if str(operator) in CONVERTERS and torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), composite)
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings about itself and about conditions on sizes that it cannot simplify."""
    solver = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = solver.level
    solver.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        solver.setLevel(level)


def _export(module: nn.Module, inputs: tuple[Any, ...], sizes: Any) -> torch.export.ExportedProgram:
    with _quiet(), torch.no_grad(), _WholePools():
        return torch.export.export(module, inputs, dynamic_shapes=sizes)


def _doubled(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return torch.cat([tree, tree]) if tree.dim() > 1 and tree.shape[0] == 1 else tree
    if isinstance(tree, (tuple, list)):
        return type(tree)(map(_doubled, tree))
    if isinstance(tree, dict):
        return {key: _doubled(value) for key, value in tree.items()}
    return tree


def _open_sizes(tree: Any) -> Any:
    """Which sizes are open, in torch.export's form: batch and spatial axes."""
    if isinstance(tree, torch.Tensor):
        return {axis: _OPEN if tree.dim() > 1 and axis != 1 else _FIXED for axis in range(tree.dim())}
    if isinstance(tree, (tuple, list)):
        return type(tree)(map(_open_sizes, tree))
    if isinstance(tree, dict):
        return {key: _open_sizes(branch) for key, branch in tree.items()}
    return None


def _has_results_like(program: torch.export.ExportedProgram, module: nn.Module, inputs: tuple[Any, ...]) -> bool:
    """Whether the program's results have the shapes that the module's have, as far as they are not open."""
    with torch.no_grad():
        found = _shapes(tree_leaves(module(*inputs)))
    (output,) = program.graph.find_nodes(op="output")
    expected = _shapes([node.meta["val"] for node in output.args[0] if hasattr(node, "meta")])
    return len(found) == len(expected) and all(map(_fits, found, expected))


def _fits(shape: Sequence[int], wanted: Sequence[Any]) -> bool:
    return len(shape) == len(wanted) and all(
        size == want for size, want in zip(shape, wanted, strict=True) if isinstance(want, int)
    )


def _shapes(tree: Any) -> list[Any]:
    if isinstance(tree, torch.Tensor):
        return [tree.shape]
    branches = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (tuple, list)) else ()
    return [shape for branch in branches for shape in _shapes(branch)]


def _inputs(program: torch.export.ExportedProgram) -> Iterator[Any]:
    """The placeholders that are tensors of the user."""
    wanted = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in wanted and isinstance(node.meta.get("val"), torch.Tensor):
            yield node


def decisions(program: torch.export.ExportedProgram) -> list[Any]:
    """What the program takes for granted about open sizes, as expressions.

    That is what the model's own code, or a layer of torch.nn, asked while it was exported, and sizes that an operator
    took for a number. What else torch's operators asked is left out: whether shapes conform, which the engine checks
    itself, and whether memory is contiguous.
    """
    harmless = {
        size.node.expr
        for node in program.graph.nodes
        if str(node.target) == "aten.max_pool1d.default"  # its kernel asks for them, its result does not depend on it
        for size in node.args[0].meta["val"].shape
        if isinstance(size, torch.SymInt)
    }
    for node in _inputs(program):
        for size in node.meta["val"].shape:
            if isinstance(size, torch.SymInt):
                guards = size.node.shape_env.guards
                return [guard.expr for guard in guards if _is_decision(guard, harmless)]
    return []


def spelled(conditions: Sequence[Any], program: torch.export.ExportedProgram) -> list[str]:
    """Conditions on sizes in terms of the program's inputs: "x.shape[2] < 40"."""
    texts = [PythonPrinter().doprint(condition) for condition in conditions]
    for node in _inputs(program):
        for axis, size in enumerate(node.meta["val"].shape):
            if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                name = re.compile(rf"\b{size.node.expr}\b")
                texts = [name.sub(f"{node.name}.shape[{axis}]", text) for text in texts]
    return texts if len(texts) <= _MOST_SPELLED else [*texts[:_MOST_SPELLED], f"{len(texts) - _MOST_SPELLED} more"]


def _is_decision(guard: Any, harmless: set[Any]) -> bool:
    file = getattr(guard.sloc.framework_loc, "filename", "")
    if not file:
        return False
    if not file.startswith((_TORCH, _OPERATORS)) or file.startswith(_LAYERS):
        return not _is_of_memory(guard.expr)
    calls = os.path.basename(file) in ("_ops.py", "non_strict_utils.py")  # where torch's operators are called
    is_number = type(guard.expr).__name__ == "Equality" and guard.expr.args[1].is_Integer
    return calls and is_number and guard.expr.args[0] not in harmless


def _is_of_memory(expression: Any) -> bool:
    """Whether it is what `x.contiguous()` asks in C++, where nothing but the model's line is known of the caller.

    That takes sizes of 1 apart from others; a model that does so itself is one for sizes from 2 on.
    """
    from_two_on = type(expression).__name__ == "Unequality" and expression.args[1] in (0, 1)
    return from_two_on or "Max(1, " in str(expression)


class _WholePools(TorchFunctionMode):
    """Makes `F.avg_pool1d(x, x.shape[-1])` a mean: torch's poolings would take the size for a number."""

    _REDUCTIONS: ClassVar[dict[Any, tuple[int, Callable[..., torch.Tensor]]]] = {
        torch.avg_pool1d: (1, torch.mean),
        torch.nn.functional.avg_pool2d: (2, torch.mean),
        torch.max_pool1d: (1, torch.amax),
        torch.max_pool2d: (2, torch.amax),
    }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self._REDUCTIONS:
            axes, reduce = self._REDUCTIONS[func]
            if _is_whole(axes, *args, **kwargs):
                return reduce(args[0], list(range(-axes, 0)), keepdim=True)
        return func(*args, **kwargs)


def _is_whole(
    axes: int, x: torch.Tensor, kernel_size: Any = 0, stride: Any = None, padding: Any = 0, *more: Any, **named: Any
) -> bool:
    """Whether a window is as large as images whose size is open."""
    kernel = tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else (kernel_size,) * axes
    if more or set(named) - {"ceil_mode", "count_include_pad"} or padding not in (0, (0,) * axes, [0] * axes):
        return False
    is_open = any(isinstance(size, torch.SymInt) for size in kernel)
    return is_open and all(map(same_size, plain_sizes(kernel), plain_sizes(x.shape[-axes:])))
