"""The interface that ONNX asks of a backend, `onnx.backend.base`: functions `prepare`, `run_model`, `run_node`.

Inputs of a model can be such that the engine must know them to import it, axes and scales for instance. Then the model
is imported when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Array, GraphError
from neocog.engine.importers import UnsupportedError
from neocog.engine.importers.onnx import from_onnx
from neocog.engine.importers.onnx_read import OPSETS

# Inputs of operators that are numbers of the plan, though they may be floats.
_FLOAT_NUMBERS = {"Dropout": (1,), "Pad": (2,), "Range": (0, 1, 2), "Resize": (1, 2), "Upsample": (1,)}


def numbers_of(model: onnx.ModelProto) -> list[str]:
    """The inputs of a model that are no data: integers, and floats that operators take as numbers."""
    known = {
        name
        for node in model.graph.node
        for place, name in enumerate(node.input)
        if place in _FLOAT_NUMBERS.get(node.op_type, ())
    }
    return [value.name for value in model.graph.input if value.name in known or _is_integer(value)]


def _is_integer(value: onnx.ValueInfoProto) -> bool:
    numbers = (onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL)
    return value.type.tensor_type.elem_type in numbers


class NeocogRep(BackendRep):
    """A model that is ready to run, but for inputs that must be known to import it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        constant = {tensor.name for tensor in model.graph.initializer}
        self._source = model
        self._inputs = [value.name for value in model.graph.input if value.name not in constant]
        self._numbers = [name for name in numbers_of(model) if name not in constant]
        self._outputs = [value.name for value in model.graph.output]
        self._compiled: CompiledModel | None = None
        try:
            self._compiled = CompiledModel(from_onnx(model))
        except UnsupportedError:
            if not self._numbers:
                raise

    def run(self, inputs: Sequence[Array] | Mapping[str, Array], **kwargs: Any) -> tuple[Any, ...]:
        """The results of the model, also by name.

        Args:
            inputs: Arrays in the order of the model's inputs, or by their names.
            kwargs: ONNX passes options here; there are none.
        """
        named = inputs if isinstance(inputs, Mapping) else dict(zip(self._inputs, inputs, strict=True))
        if set(named) != set(self._inputs):
            raise ValueError(
                f"inputs has {', '.join(sorted(named))}; the model's inputs are {', '.join(self._inputs)}."
            )
        given = {name: np.asarray(value) for name, value in named.items()}
        compiled = self._compiled
        if compiled is None:
            compiled = CompiledModel(from_onnx(self._source, values={name: given[name] for name in self._numbers}))
        results = compiled.run(*(given[value.name] for value in compiled.inputs))
        return namedtupledict("Outputs", self._outputs)(*results)


class NeocogBackend(Backend):
    """neocog's engine on the CPU."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether it is the CPU."""
        return bool(Device(device).type == DeviceType.CPU)

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the model can be prepared."""
        if not cls.supports_device(device):
            return False
        try:
            NeocogRep(model)
        except GraphError:
            return False
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> NeocogRep:
        """Import and plan a model.

        Raises:
            ValueError: The device is not the CPU.
            GraphError: As `neocog.onnx.load`.
        """
        if not cls.supports_device(device):
            raise ValueError(f"`device` is {device!r}; it must be 'CPU'.")
        return NeocogRep(model)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Sequence[Any] | Mapping[str, Any],
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node, whose integer inputs may be axes and the like.

        Args:
            node: Of ONNX' own operators.
            inputs: Arrays in the order of the node's inputs that are there, or by name.
            device: "CPU".
            outputs_info: Not needed: shapes follow from the node.
            kwargs: `opset_version`, which is the latest by default.
        """
        names = list(dict.fromkeys(name for name in node.input if name))
        given = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
        arrays = {name: np.asarray(value) for name, value in given.items()}
        graph = helper.make_graph(
            [node],
            "node",
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
                for name, x in arrays.items()
            ],
            [helper.make_empty_tensor_value_info(name) for name in node.output if name],
        )
        opset = helper.make_opsetid("", kwargs.get("opset_version", min(OPSETS[1], onnx.defs.onnx_opset_version())))
        model = helper.make_model_gen_version(graph, opset_imports=[opset])
        return cls.run_model(model, arrays, device)


prepare = NeocogBackend.prepare
run_model = NeocogBackend.run_model
run_node = NeocogBackend.run_node
supports_device = NeocogBackend.supports_device
is_compatible = NeocogBackend.is_compatible
