"""A network that is ready to run: plans for the sizes it has met, one call for each inference."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neocog._checks import integer, one_of
from neocog.engine.explain import Explanation, Profile, explain, profile
from neocog.engine.graph import Array, Graph, Input
from neocog.engine.operators import PRECISIONS
from neocog.engine.passes import gains_from_sizes, optimise, precisions, specialise
from neocog.engine.plan import Plan, make_plan
from neocog.engine.prepared import Sizes, worth_keeping
from neocog.engine.weights import WeightStore

# Plans for so many different sizes are kept; a plan is its list of steps, not memory for data.
_MOST_PLANS = 64


class CompiledModel:
    """A network whose every call is one call of the core. Safe to call from many threads at once.

    New sizes are planned at their first call, in milliseconds; weights are packed once for all of them.

    Args:
        graph: What it computes; kept as it is.
        precision: Of convolutions and linear layers, "fp32" or "bf16"; None leaves each as the graph has it.
        num_threads: Threads of a call; None follows `neocog.set_num_threads`.
    Attributes:
        prepared: The sizes of `prepare`, the latest last: for every input its shape, and whether it lies channels-last.
    """

    def __init__(self, graph: Graph, *, precision: str | None = None, num_threads: int | None = None) -> None:
        self.num_threads = 0 if num_threads is None else integer("num_threads", num_threads, minimum=1)
        if precision is None:
            self.graph = optimise(graph)
        else:
            # Before: what is fused depends on it. After: some layers are made by the passes.
            one_of("precision", precision, PRECISIONS)
            self.graph = precisions(optimise(precisions(graph, precision)), precision)
        self._gains_from_sizes = gains_from_sizes(self.graph)
        self._weights = WeightStore(self.graph.constants.values())
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self._planning = threading.Lock()
        self.prepared: list[Sizes] = []

    @property
    def inputs(self) -> list[Input]:
        """The arguments of a call."""
        return self.graph.inputs

    def __call__(self, *inputs: Any) -> Any:
        """Run the network.

        Args:
            inputs: Arrays of NumPy, or tensors of a framework with DLPack's exchange table, such as PyTorch: float32
                data, shapes as the graph's inputs have them; integers where it wants numbers.
        Returns:
            The result, or a tuple of several; of the kind of the first input. Images lie in memory as the inputs do.
        Raises:
            TypeError: An input of another number, kind or dtype.
            ValueError: Other sizes than the network takes.
            GraphError: Sizes that do not fit a layer; names it.
        """
        results = self.run(*inputs)
        return results[0] if len(results) == 1 else results

    def run(self, *inputs: Any) -> tuple[Any, ...]:
        """The same, with a tuple of all results even if there is one."""
        plan, data = self._prepared(inputs)
        return _delivered(plan, plan.program.run(data, False, self.num_threads))

    def prepare(self, *inputs: Any) -> None:
        """Do now what the first call for inputs of these sizes would do: plan it, and pack the weights.

        `save` writes the sizes too, and `neocog.load` then prepares for them.

        Args:
            inputs: As in a call; or shapes, as tuples.
        Raises:
            As a call does.
        """
        key, numbers, _ = self._key_and_data(_shaped(inputs))
        self._plan(key, numbers).program.prepare(self.num_threads)
        if not numbers:
            self.remember(key)

    def prepare_for(self, sizes: Sizes, *, most_bytes: int | None = None) -> None:
        """The same for sizes that a file has.

        Args:
            sizes: As in `prepared`.
            most_bytes: Plan, but pack nothing, where a call needs a piece of memory that is larger.
        """
        program = self._plan(sizes, {}).program
        if most_bytes is None or program.largest_bytes <= most_bytes:
            program.prepare(self.num_threads)
        self.remember(sizes)

    def remember(self, sizes: Sizes) -> None:
        """Let `save` write sizes, whether or not they are prepared."""
        with self._planning:
            self.prepared = [*(other for other in self.prepared if other != sizes), sizes][-_MOST_PLANS:]

    def profile(self, *inputs: Any, repeat: int = 10) -> Profile:
        """Time every step, and whole calls: medians of `repeat` calls, after one that packs the weights."""
        self.run(*inputs)
        seconds, calls = [], []
        for _ in range(max(1, repeat)):
            start = time.perf_counter()
            plan, data = self._prepared(inputs)
            results, steps = plan.program.run(data, True, self.num_threads)
            _delivered(plan, results)
            calls.append(time.perf_counter() - start)
            seconds.append(steps)
        return profile(plan, seconds, calls)

    def explain(self, *inputs: Any) -> Explanation:
        """What runs for inputs of these sizes: the kernel of every step, and where memory goes.

        Args:
            inputs: As in a call; or shapes, as tuples.
        """
        return explain(self._prepared(_shaped(inputs))[0])

    def save(self, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None) -> None:
        """Write a `.neocog` file: the graph, its weights and the sizes of `prepare`, for `neocog.load` on any machine.

        Args:
            path: Where the file goes, `model.neocog`; a file of that name is replaced.
            metadata: Strings for people and programs, as a licence; `neocog.engine.file.read_metadata` returns them.
        """
        from neocog.engine.file import save

        save(self.graph, Path(path), metadata=metadata, sizes=worth_keeping(self.prepared))

    def _prepared(self, inputs: Sequence[Any]) -> tuple[Plan, list[Any]]:
        """The plan for these inputs, and those of them that are data, dense."""
        key, numbers, data = self._key_and_data(inputs)
        return self._plan(key, numbers), data

    def _key_and_data(self, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Array], list[Any]]:
        """What a plan for these inputs depends on, those of them that are numbers, and those that are data, dense."""
        wanted = self.graph.inputs
        if len(inputs) != len(wanted):
            names = ", ".join(item.name for item in wanted)
            raise TypeError(f"the network takes {len(wanted)} inputs ({names}), but {len(inputs)} were given.")
        data: list[Any] = []
        key: list[Any] = []
        numbers: dict[str, Array] = {}
        for item, value in zip(wanted, inputs, strict=True):
            if item.dtype == "float32":
                value, place = _data(item.name, value)
                data.append(value)
                key.append(place)
            else:
                number = np.asarray(value)
                if number.dtype.kind not in "iub":
                    raise TypeError(f"`{item.name}` has dtype {number.dtype}, but the network takes {item.dtype}.")
                numbers[item.name] = number
                key.append((number.shape, number.tobytes()))
        return tuple(key), numbers, data

    def _plan(self, key: tuple[Any, ...], numbers: dict[str, Array]) -> Plan:
        plan = self._plans.get(key)
        if plan is not None:
            return plan
        with self._planning:
            plan = self._plans.get(key)
            if plan is None:
                places = [place for place, item in zip(key, self.graph.inputs, strict=True) if item.dtype == "float32"]
                self._check_shapes([shape for shape, _ in places])
                graph = specialise(self.graph, [shape for shape, _ in places]) if self._gains_from_sizes else self.graph
                plan = make_plan(graph, places, numbers, self._weights)
                while len(self._plans) >= _MOST_PLANS:
                    self._plans.popitem(last=False)
                self._plans[key] = plan
        return plan

    def _check_shapes(self, shapes: list[tuple[int, ...]]) -> None:
        sizes: dict[str, int] = {}
        data = [item for item in self.graph.inputs if item.dtype == "float32"]
        for item, shape in zip(data, shapes, strict=True):
            fits = len(shape) == len(item.shape) and all(
                size == (sizes.setdefault(want, size) if isinstance(want, str) else want)
                for want, size in zip(item.shape, shape, strict=True)
            )
            if not fits:
                wanted = ", ".join(map(str, item.shape))
                raise ValueError(f"`{item.name}` has the shape {shape}, but the network takes ({wanted}).")

    def __repr__(self) -> str:
        inputs = ", ".join(f"{i.name}: ({', '.join(map(str, i.shape))})" for i in self.graph.inputs)
        return f"CompiledModel({inputs} -> {', '.join(self.graph.outputs)}; {len(self.graph.nodes)} layers)"


def _shaped(inputs: Sequence[Any]) -> list[Any]:
    """Arrays in the place of shapes."""
    return [np.zeros(x, np.float32) if isinstance(x, tuple) else x for x in inputs]


def _data(name: str, value: Any) -> tuple[Any, tuple[tuple[int, ...], bool]]:
    """An input as the program takes it, its shape, and whether it lies channels-last."""
    if isinstance(value, np.ndarray):
        if value.dtype != np.float32:
            raise TypeError(
                f"`{name}` has dtype {value.dtype}, but the network computes in float32; "
                f"convert it with {name}.astype(np.float32)."
            )
        if value.flags.c_contiguous:
            return value, (value.shape, False)
        if value.ndim in (3, 4) and np.moveaxis(value, 1, -1).flags.c_contiguous:
            return value, (value.shape, True)
        return np.ascontiguousarray(value), (value.shape, False)
    if not hasattr(value, "__dlpack__"):
        raise TypeError(f"`{name}` is a {type(value).__name__}; pass a NumPy array or a tensor.")
    return _tensor(name, value)


def _tensor(name: str, value: Any) -> tuple[Any, tuple[tuple[int, ...], bool]]:
    if not hasattr(type(value), "__dlpack_c_exchange_api__"):
        return _data(name, np.from_dlpack(value))
    if str(value.dtype) != "torch.float32":
        raise TypeError(
            f"`{name}` has dtype {value.dtype}, but the network computes in float32; convert it with {name}.float()."
        )
    if value.requires_grad:
        value = value.detach()
    shape = tuple(value.shape)
    if value.is_contiguous():
        return value, (shape, False)
    if len(shape) in (3, 4) and value.movedim(1, -1).is_contiguous():
        return value, (shape, True)
    return value.contiguous(), (shape, False)


def _delivered(plan: Plan, results: list[Any]) -> tuple[Any, ...]:
    arrays = iter(results)
    handed = []
    for delivery in plan.deliveries:
        if delivery.axes is None:
            handed.append(delivery.number)
            continue
        array = next(arrays)
        if delivery.axes != tuple(range(len(delivery.axes))):
            array = array.transpose(delivery.axes) if isinstance(array, np.ndarray) else array.permute(delivery.axes)
        handed.append(array)
    return tuple(handed)
