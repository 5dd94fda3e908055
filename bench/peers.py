"""Who competes: neocog and its peers behind one signature. An absent peer is left out by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from bench.ops.row import Array, Call, Pass, Row, aligned
from bench.timing import timed

Results = tuple[Array, ...]


@dataclass(frozen=True)
class Contender:
    """One library in one memory layout, ready to be timed."""

    call: Call
    # What the call returned, as arrays of the logical shape: y, or all gradients.
    results: Callable[[Any], Results]
    # Seconds that its users wait before their first call.
    setup: float = 0.0


@dataclass(frozen=True)
class Entry:
    """A contender that may still fail to be built."""

    peer: str
    layout: str
    channels_last: bool
    build: Callable[[Row, Pass, Mapping[str, Array]], Contender]


class Peer(ABC):
    name: ClassVar[str]

    @staticmethod
    @abstractmethod
    def missing() -> str | None:
        """Why it cannot run here, or None."""

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def session(self, threads: int) -> AbstractContextManager[None]:
        """While it is open, calls use this many threads."""

    @abstractmethod
    def entries(self, row: Row, pass_: Pass) -> Iterator[Entry]:
        """The layouts it runs this row in."""


class Neocog(Peer):
    """`neocog.ops` on NumPy arrays, in both memory layouts."""

    name = "neocog"

    def __init__(self) -> None:
        import neocog

        self._neocog = neocog

    @staticmethod
    def missing() -> str | None:
        return None

    def version(self) -> str:
        return str(self._neocog.__version__)

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        before = self._neocog.get_num_threads()
        self._neocog.set_num_threads(threads)
        try:
            yield
        finally:
            self._neocog.set_num_threads(before)

    def entries(self, row: Row, pass_: Pass) -> Iterator[Entry]:
        first, last = ("NCHW", "NHWC") if row.spatial == 2 else ("NCL", "NLC")
        for layout in (first, last):
            yield Entry(self.name, layout, layout == last, partial(self._build, data_format=layout))

    def _build(self, row: Row, pass_: Pass, arrays: Mapping[str, Array], data_format: str) -> Contender:
        last = data_format.endswith("C")
        # The memory that waits from other shapes would make the first call faster than that of a fresh program.
        self._neocog.empty_cache()
        a = dict(arrays)
        for name in row.IMAGES & a.keys() if last else ():
            a[name] = aligned(np.moveaxis(a[name], 1, -1))
        ops = self._neocog.ops
        prepare = row.neocog_forward if pass_ == "forward" else row.neocog_backward

        def results(returned: Any) -> Results:
            image, *others = _taken(pass_, returned)
            return (np.moveaxis(image, -1, 1) if last else image, *others)

        return Contender(prepare(ops, a, data_format=data_format), results)


class Torch(Peer):
    """PyTorch eager, in both memory formats; in one dimension it has only one."""

    name = "torch"

    def __init__(self) -> None:
        import torch

        self._torch = torch

    @staticmethod
    def missing() -> str | None:
        return None if find_spec("torch") else "not installed"

    def version(self) -> str:
        return str(self._torch.__version__)

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        before = self._torch.get_num_threads()
        self._torch.set_num_threads(threads)
        try:
            with self._torch.inference_mode():
                yield
        finally:
            self._torch.set_num_threads(before)

    def entries(self, row: Row, pass_: Pass) -> Iterator[Entry]:
        yield Entry(self.name, "NCHW" if row.spatial == 2 else "NCL", False, self.build)
        if row.spatial == 2:
            yield Entry(self.name, "channels_last", True, partial(self.build, channels_last=True))

    def build(self, row: Row, pass_: Pass, arrays: Mapping[str, Array], channels_last: bool = False) -> Contender:
        """A contender on tensors of the arrays' dtype."""
        torch = self._torch
        # As model.to(memory_format=...) does it, weights follow the images.
        a = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if channels_last:
            a = {k: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for k, t in a.items()}
        prepare = row.torch_forward if pass_ == "forward" else row.torch_backward

        def array(t: Any) -> Array:  # NumPy has no bfloat16
            made: Array = (t.float() if t.dtype == torch.bfloat16 else t).numpy()
            return made

        return Contender(prepare(torch, a), lambda returned: tuple(map(array, _taken(pass_, returned))))


class OnnxRuntime(Peer):
    """onnxruntime on a model of one node: forward only, NCHW only, weights known in advance."""

    name = "onnxruntime"

    def __init__(self) -> None:
        self._threads = 0

    @staticmethod
    def missing() -> str | None:
        absent = [package for package in ("onnxruntime", "onnx") if not find_spec(package)]
        return f"{' and '.join(absent)} not installed" if absent else None

    def version(self) -> str:
        return metadata.version("onnxruntime")

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        before, self._threads = self._threads, threads
        try:
            yield
        finally:
            self._threads = before

    def entries(self, row: Row, pass_: Pass) -> Iterator[Entry]:
        if pass_ == "forward" and row.onnx() is not None:
            yield Entry(self.name, "NCHW" if row.spatial == 2 else "NCL", False, self._build)

    def _build(self, row: Row, pass_: Pass, arrays: Mapping[str, Array]) -> Contender:
        return onnxruntime_contender(_onnx_model(row, arrays), {"x": arrays["x"]}, self._threads)


def onnxruntime_contender(model: bytes | str, feed: Mapping[str, Array], threads: int) -> Contender:
    """onnxruntime on a model, or on the file of one; its users wait for the session to be created."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    create = partial(onnxruntime.InferenceSession, providers=["CPUExecutionProvider"])
    session, seconds = timed(partial(create, model, options))
    return Contender(lambda: session.run(None, feed), lambda returned: tuple(returned), seconds)


def _onnx_model(row: Row, arrays: Mapping[str, Array]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    node = row.onnx()
    assert node is not None, row.name
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, row.x)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, row.y)
    constants = [numpy_helper.from_array(arrays[name], name) for name in node.inputs[1:]]
    nodes = [helper.make_node(node.op, node.inputs, ["y"], **node.attributes)]
    graph = helper.make_graph(nodes, "row", [x], [y], constants)
    # An old format that every runtime of the last years reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def _taken(pass_: Pass, returned: Any) -> Sequence[Any]:
    """What is compared: y of a forward pass (statistics may follow it), all gradients of a backward one."""
    if pass_ == "backward":
        return tuple(returned)
    return (returned[0] if isinstance(returned, tuple) else returned,)


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Torch, OnnxRuntime)}


def find(names: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """neocog and the wanted peers that are here, and why the others are not."""
    absent = {name: reason for name in names if (reason := PEERS[name].missing())}
    return [Neocog(), *(PEERS[name]() for name in names if name not in absent)], absent
