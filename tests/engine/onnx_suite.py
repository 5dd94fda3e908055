"""The cases of the ONNX backend test suite that the engine is for, and why others are left out."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from neocog.engine.graph import Graph  # noqa: E402
from neocog.engine.importers import UnsupportedError  # noqa: E402
from neocog.engine.importers.onnx import from_onnx  # noqa: E402
from neocog.engine.importers.onnx_call import DTYPES, IMPORTERS  # noqa: E402
from neocog.onnx.backend import numbers_of  # noqa: E402
from onnx.backend.test.loader import load_model_tests  # noqa: E402

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
# Operators without an importer whose definition by ONNX consists of such as have one.
BY_DEFINITION = {
    *("AffineGrid", "CausalConvWithState", "CenterCropPad", "RotaryEmbedding", "SwiGLU"),
    *("BlackmanWindow", "HammingWindow", "HannWindow"),
}
NOT_FOR_US = r"test_(flex|linear_)?attention_"  # networks of words: they choose by comparing data

EMPTY = r"test_reduce_(max|min|log_sum_exp)_empty_set.*"  # of no numbers: an infinity in ONNX, an error here

LEFT_OUT = {  # reason: (what the error says, patterns of whole names)
    "three spatial axes": (
        "3 spatial axes",
        [
            r"test_(averagepool|lppool|maxpool|convtranspose)_3d.*",
            r"test_(AvgPool3d|Conv3d|MaxPool3d).*",
        ],
    ),
    "comparisons of data, and choices by them": (
        "follows from data",
        [
            r"test_(less|greater)(_equal)?(_bcast)?(_expanded)?",
            r"test_where_example",
            r"test_clip_(?!default_inbounds|default_int8_inbounds)(.*_)?expanded",
            r"test_(leakyrelu|prelu)(_.*)?_expanded",
            r"test_(elu|selu|shrink|thresholdedrelu)(_.*)?_expanded_ver18",
        ],
    ),
    "integers to the power of data": ("but 'y' is data", [r"test_pow_types_int(32|64)_float32"]),
    "float64 within a network": ("float64", [r"test_reduce_log_sum_exp_empty_set_expanded"]),
    "training": ("training", [r"test_batchnorm_.*_training_mode", r"test_training_dropout_.*|test_training_dropout"]),
    "indices of max pooling": ("indices", [r"test_maxpool_with_argmax_2d_precomputed_(pads|strides)"]),
    "dilated averages, which PyTorch does not have": ("dilations", [r"test_(averagepool|lppool)_2d_dilations"]),
    "regions of interest": ("tf_crop_and_resize", [r"test_resize_tf_crop_and_resize.*"]),
    "sizes rounded away from the scale they are made by": (
        "not_smaller",
        [r"test_resize_downsample_sizes_nearest_not_smaller"],
    ),
    "definitions that ONNX cannot write down": (
        "no such operator",
        [r"test_causal_conv_with_state_(silu_)?with_past_state"],
    ),
    "grids of volumes": (
        r"\(AffineGrid\): its definition has a GatherElements",
        [r"test_affine_grid_2d(_align_corners)?"],
    ),
    "models of opset 1": ("opset 1;", [r"test_not_[234]d"]),
}


@dataclass(frozen=True)
class Case:
    """One case of the suite."""

    name: str
    kind: str
    model: Any
    data: list[tuple[list[Any], list[Any]]]  # inputs and expected outputs
    rtol: float
    atol: float

    @property
    def ops(self) -> set[str]:
        return {node.op_type for node in self.model.graph.node}

    def inputs(self) -> list[str]:
        constant = {tensor.name for tensor in self.model.graph.initializer}
        return [value.name for value in self.model.graph.input if value.name not in constant]


def _tensors(folder: Path, kind: str) -> list[Any]:
    arrays = []
    for number in range(len(list(folder.glob(f"{kind}_*.pb")))):
        tensor = onnx.TensorProto.FromString((folder / f"{kind}_{number}.pb").read_bytes())
        arrays.append(onnx.numpy_helper.to_array(tensor))
    return arrays


def _is_for_us(model: Any) -> bool:
    """Whether it is of our types and operators."""
    values = (*model.graph.input, *model.graph.output)
    types = {value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else None for value in values}
    domains = {node.domain for node in model.graph.node}
    ops = {node.op_type for node in model.graph.node}
    ours = types <= set(DTYPES) - {onnx.TensorProto.DOUBLE} and ops <= set(IMPORTERS) | BY_DEFINITION
    return ours and domains <= {"", "ai.onnx"}


def _cases() -> Iterator[Case]:
    for kind in KINDS:
        for case in load_model_tests(kind=kind):
            if re.match(NOT_FOR_US, case.name):
                continue
            folder = None if case.model_dir is None else Path(case.model_dir)
            model = case.model if folder is None else onnx.load(folder / "model.onnx")
            if not _is_for_us(model):
                continue
            data = case.data_sets
            if folder is not None:
                data = [(_tensors(d, "input"), _tensors(d, "output")) for d in sorted(folder.glob("test_data_set_*"))]
            yield Case(case.name, kind, model, data, case.rtol, case.atol)


@functools.cache
def cases() -> Mapping[str, Case]:
    """The suite's cases of our operators and types by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite divides by zero and the like
        return {case.name: case for case in _cases()}


@functools.cache
def left_out() -> Mapping[str, str]:
    """Of those, the names that are left out, and what the error of each says."""
    found = {}
    for says, patterns in LEFT_OUT.values():
        for pattern in patterns:
            names = [name for name in cases() if re.fullmatch(pattern, name)]
            assert names, f"no case of the suite is called {pattern}"
            found |= dict.fromkeys(names, says)
    return found


def run_names() -> list[str]:
    """The names of the cases that run."""
    return sorted(name for name in set(cases()) - set(left_out()) if not re.fullmatch(EMPTY, name))


def imported(case: Case) -> Graph:
    """The graph of a case; if need be, one for the numbers of its first data, such as axes."""
    try:
        return from_onnx(case.model)
    except UnsupportedError:
        named = dict(zip(case.inputs(), case.data[0][0], strict=True))
        numbers = {name: named[name] for name in numbers_of(case.model)}
        if not numbers:
            raise
        return from_onnx(case.model, values=numbers)


def arguments(case: Case, graph: Graph, inputs: list[Any]) -> list[np.ndarray]:
    """The inputs of a case that its graph has, in its order."""
    named = dict(zip(case.inputs(), inputs, strict=True))
    return [np.asarray(named[value.name]) for value in graph.inputs]
