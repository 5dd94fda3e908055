"""torch.compile without gradients: parts of the graph as `CompiledModel`s, one call each, and the rest in torch."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner, Partition
from torch.fx.passes.operator_support import OperatorSupportBase

from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import GraphError
from neocog.engine.importers.aten import from_fx
from neocog.engine.importers.aten_importer import Importer
from neocog.torch.backend_counts import count_ours, count_torchs
from neocog.torch.backend_training import boxed

# Several models of one class share a compiled graph, each with weights of its own.
_MOST_WEIGHTS = 8
# What is no work by itself: a part of nothing else is left to torch.
_VIEWS = {"view", "_unsafe_view", "reshape", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand", "slice"}
_VIEWS |= {"select", "split", "split_with_sizes", "unbind", "alias", "detach", "clone"}


def compile_inference(graph: fx.GraphModule, num_threads: int | None) -> Callable[[list[Any]], Any]:
    """What torch.compile calls in the place of a functional graph of aten operators."""
    frozen = _frozen(graph)
    importer = Importer({node.name: (node.name, _without_data(node.meta["val"])) for node in frozen}, integers=False)
    importer.run(graph)
    partitioner = CapabilityBasedPartitioner(graph, _Supported(importer), allows_single_node_partition=True)
    partitions = [part for part in partitioner.propose_partitions() if _is_worth_it(part, importer)]
    in_parts = {node for part in partitions for node in part.nodes}
    for node in graph.graph.nodes:
        if node.op == "call_function" and node not in in_parts and _is_work(node):
            count_torchs(_name(node), importer.unsupported.get(node, "it stands alone between such operators"))
    fused = partitioner.fuse_partitions(partitions, prefix="neocog_part_")
    for node in list(fused.graph.nodes):
        if node.op == "call_module":
            part = _Part(fused.get_submodule(str(node.target)), node.args, {n.name for n in frozen}, num_threads)
            fused.delete_submodule(str(node.target))
            node.op, node.target = "call_function", part.function(str(node.target))
    fused.recompile()
    return boxed(fused.forward)


def _frozen(graph: fx.GraphModule) -> list[fx.Node]:
    """The placeholders that are parameters and buffers, but for those that the graph writes to."""
    context = torch._guards.TracingContext.try_get()
    metadata = context.fw_metadata if context is not None else None
    if metadata is None:
        return []
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    written = set(metadata.mutated_inp_runtime_indices)
    return [
        placeholders[index]
        for index in metadata.static_input_indices
        if index < len(placeholders)
        and index not in written
        and isinstance(placeholders[index].meta.get("val"), Tensor)
    ]


def _without_data(like: Tensor) -> Any:
    """An array in the place of weights, of which only shape and dtype matter; its memory is one element."""
    dtype = getattr(np, str(like.dtype).removeprefix("torch."), np.float32)
    return np.broadcast_to(np.zeros((), dtype), like.shape)


class _Supported(OperatorSupportBase):
    def __init__(self, importer: Importer) -> None:
        self._importer = importer

    def is_node_supported(self, submodules: Mapping[str, torch.nn.Module], node: fx.Node) -> bool:
        # Arithmetic on sizes too: it may stand between operators of one part.
        return node in self._importer.imported or _is_size(node)


def _is_size(node: fx.Node) -> bool:
    return node.op == "call_function" and isinstance(node.meta.get("val"), torch.SymInt)


def _name(node: fx.Node) -> str:
    return str(node.target).removesuffix(".default")


def _is_work(node: fx.Node) -> bool:
    """Whether it computes: no view, and no arithmetic on sizes or choice of a result."""
    target = node.target
    makes_data = not isinstance(node.meta.get("val"), (int, float, bool, torch.SymInt, torch.SymFloat, torch.SymBool))
    return isinstance(target, torch._ops.OpOverload) and target._opname not in _VIEWS and makes_data


def _is_worth_it(part: Partition, importer: Importer) -> bool:
    return any(_is_work(node) and not importer.is_constant(node) for node in part.nodes)


class _Part:
    """Operators of a graph that run as one `CompiledModel`.

    Args:
        module: The operators, on the arguments of the part.
        arguments: The nodes of the whole graph that these arguments are.
        frozen: The names of those that are weights.
    """

    def __init__(
        self, module: torch.nn.Module, arguments: Sequence[Any], frozen: set[str], num_threads: int | None
    ) -> None:
        assert isinstance(module, fx.GraphModule)
        self._module, self._num_threads = module, num_threads
        nodes = list(module.graph.nodes)
        self._names = [node.name for node in nodes if node.op == "placeholder"]
        self._weights = [
            place
            for place, node in enumerate(arguments)
            if node.op == "get_attr" or (node.op == "placeholder" and node.name in frozen)
        ]
        self._results = [_Result(node) for node in _results(nodes[-1])]
        self._one = not isinstance(nodes[-1].args[0], (tuple, list))
        self._operators = [_name(node) for node in nodes if node.op == "call_function" and _is_work(node)]
        for operator in self._operators:
            count_ours(operator)
        self._models: list[_Frozen] = []  # the last one used first
        self._building = threading.Lock()
        self._refused = False

    def function(self, name: str) -> Callable[..., Any]:
        """What the whole graph calls."""

        def call(*arguments: Any) -> Any:
            return self._call(arguments)

        call.__name__ = call.__qualname__ = name
        return call

    def _call(self, arguments: tuple[Any, ...]) -> Any:
        if self._refused:
            return self._module(*arguments)
        weights = [arguments[place] for place in self._weights]
        try:
            model = self._model(weights)
            results = model.run(*[_data(arguments[place]) for place in model.inputs])
        except GraphError as error:
            self._refuse(error)
            return self._module(*arguments)
        tensors = tuple(expected.of(result) for expected, result in zip(self._results, results, strict=True))
        return tensors[0] if self._one else tensors

    def _model(self, weights: list[Tensor]) -> _Frozen:
        """The compiled model of these weights; a new one if they were replaced or written to."""
        for place, model in enumerate(self._models):
            if model.holds(weights):
                if place:
                    self._models = [model, *(other for other in self._models if other is not model)]
                return model
        with self._building:
            constants = dict(zip((self._names[place] for place in self._weights), weights, strict=True))
            model = _Frozen(self._module, constants, self._names, self._num_threads)
            self._models = [model, *(other for other in self._models if other.is_other(weights))][:_MOST_WEIGHTS]
        return model

    def _refuse(self, error: GraphError) -> None:
        """From now on run in torch what the engine turned out not to compute."""
        with self._building:
            if self._refused:
                return
            self._refused, self._models = True, []
        for operator in self._operators:
            count_ours(operator, -1)
            count_torchs(operator, f"its part of the graph: {error}")


class _Frozen:
    """A part with weights of one state in it."""

    def __init__(
        self, module: fx.GraphModule, constants: dict[str, Tensor], names: list[str], num_threads: int | None
    ) -> None:
        tensors = list(constants.values())
        # Before they are read: what is written while the model is built makes another one at the next call.
        self._state = [_state(tensor) for tensor in tensors]
        this = weakref.ref(self)
        self._references = [weakref.ref(tensor, lambda _: _release(this())) for tensor in tensors]
        graph = from_fx(module, constants)
        self.inputs = [names.index(item.name) for item in graph.inputs]
        self.compiled: CompiledModel | None = CompiledModel(graph, num_threads=num_threads)

    def run(self, *inputs: Any) -> tuple[Any, ...]:
        compiled = self.compiled
        assert compiled is not None, "whoever calls holds the weights"
        return compiled.run(*inputs)

    def holds(self, weights: list[Tensor]) -> bool:
        """Whether these are the weights, as they were."""
        for tensor, reference, state in zip(weights, self._references, self._state, strict=True):
            if reference() is not tensor or _state(tensor) != state:
                return False
        return True

    def is_other(self, weights: list[Tensor]) -> bool:
        """Whether it is of weights that are alive, and none of these: not a former state of them."""
        held = [reference() for reference in self._references]
        return None not in held and not any(a is b for a, b in zip(held, weights, strict=True))


def _release(frozen: _Frozen | None) -> None:
    """With one of its weights gone a model has no use; it shares the memory of the others."""
    if frozen is not None:
        frozen.compiled = None


def _state(tensor: Tensor) -> tuple[int, int]:
    # Tensors of inference mode count no writes.
    return (-1 if tensor.is_inference() else tensor._version), tensor.data_ptr()


def _data(value: Any) -> Any:
    return value if isinstance(value, Tensor) else np.asarray(value, np.int64)


class _Result:
    """What torch expects of a result: a size, or a dtype and the order of the axes in memory."""

    def __init__(self, node: fx.Node) -> None:
        like = node.meta["val"]
        self._is_size = not isinstance(like, Tensor)
        if self._is_size:
            return
        self._dtype = like.dtype
        strides, sizes = [_hint(s) for s in like.stride()], [_hint(s) for s in like.shape]
        self._order = sorted(range(like.dim()), key=lambda axis: (-strides[axis], sizes[axis] == 1, axis))
        self._inverse = [self._order.index(axis) for axis in range(like.dim())]

    def of(self, result: Any) -> Any:
        if self._is_size:
            return int(result)
        tensor: Tensor = result if isinstance(result, Tensor) else torch.from_numpy(np.array(result))
        turned = tensor.to(self._dtype).permute(self._order)
        return turned.contiguous().permute(self._inverse)


def _hint(size: Any) -> int:
    return size if isinstance(size, int) else int(size.node.hint)


def _results(output: fx.Node) -> list[fx.Node]:
    results = output.args[0]
    return list(results) if isinstance(results, (tuple, list)) else [results]  # type: ignore[arg-type,list-item]
