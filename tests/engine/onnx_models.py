"""ONNX models written in ONNX' textual form, and what the oracle makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from neocog.engine.importers.onnx import from_onnx  # noqa: E402
from onnx import parser  # noqa: E402
from reference_graph import run  # noqa: E402


def model(text: str, opset: int) -> Any:
    """A model of this opset; the text starts with the name and the inputs of its graph."""
    # IR version 3 has no initialisers that are no inputs, but goes with every opset of ONNX.
    version = 4 if opset < 9 else 8
    return parser.parse_model(f'<ir_version: {version}, opset_import: ["" : {opset}]> {text}')


def results(text: str, opset: int, *inputs: Any) -> list[np.ndarray]:
    """What the oracle makes of the imported model."""
    return run(from_onnx(model(text, opset)), [np.asarray(x) for x in inputs])
