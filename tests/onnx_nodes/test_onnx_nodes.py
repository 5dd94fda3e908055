"""The node cases of the ONNX backend test suite, for the operators that `neocog.ops` has."""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import node_adapter  # noqa: E402

RTOL, ATOL = 1e-5, 1e-6  # the suite itself asks for 1e-3
ROUNDED = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}  # the suite writes these values with four digits

LEFT_OUT = {  # reason: cases
    "volumes": [
        "test_averagepool_3d_default",
        "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False",
        "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True",
        "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False",
        "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
        "test_averagepool_3d_dilations_small",
        "test_convtranspose_3d",
        "test_maxpool_3d_default",
        "test_maxpool_3d_dilations",
        "test_maxpool_3d_dilations_use_ref_impl",
        "test_maxpool_3d_dilations_use_ref_impl_large",
    ],
    "integers: our ops take float32 and float64": ["test_maxpool_2d_uint8"],
    "average pooling has no dilation, as in PyTorch": ["test_averagepool_2d_dilations"],
    "cubic interpolation": [
        "test_resize_downsample_scales_cubic",
        "test_resize_downsample_scales_cubic_A_n0p5_exclude_outside",
        "test_resize_downsample_scales_cubic_align_corners",
        "test_resize_downsample_scales_cubic_antialias",
        "test_resize_downsample_sizes_cubic",
        "test_resize_downsample_sizes_cubic_antialias",
        "test_resize_upsample_scales_cubic",
        "test_resize_upsample_scales_cubic_A_n0p5_exclude_outside",
        "test_resize_upsample_scales_cubic_align_corners",
        "test_resize_upsample_scales_cubic_asymmetric",
        "test_resize_upsample_sizes_cubic",
    ],
    "antialias": [
        "test_resize_downsample_scales_linear_antialias",
        "test_resize_downsample_sizes_linear_antialias",
    ],
    "roi (tf_crop_and_resize)": [
        "test_resize_tf_crop_and_resize",
        "test_resize_tf_crop_and_resize_axes_2_3",
        "test_resize_tf_crop_and_resize_axes_3_2",
        "test_resize_tf_crop_and_resize_extrapolation_value",
    ],
    "half_pixel_symmetric positions": [
        "test_resize_downsample_scales_linear_half_pixel_symmetric",
        "test_resize_upsample_scales_linear_half_pixel_symmetric",
    ],
    "pytorch_half_pixel puts a single output pixel at position 0, which PyTorch itself no longer does": [
        "test_resize_downsample_sizes_linear_pytorch_half_pixel",
    ],
    "ONNX spaces the corners by the unrounded output size": [
        "test_resize_downsample_scales_linear_align_corners",
    ],
    "a nearest mode other than asymmetric floor (nearest) and half_pixel (nearest-exact)": [
        "test_resize_upsample_sizes_nearest_ceil_half_pixel",
        "test_resize_upsample_sizes_nearest_floor_align_corners",
        "test_resize_upsample_sizes_nearest_round_prefer_ceil_asymmetric",
    ],
    "a position midway between two pixels: round_prefer_floor takes the lower, nearest-exact the upper": [
        "test_resize_downsample_sizes_nearest",
        "test_resize_downsample_sizes_nearest_not_larger",
        "test_resize_downsample_sizes_nearest_not_smaller",
        "test_resize_upsample_sizes_nearest",
        "test_resize_upsample_sizes_nearest_axes_2_3",
        "test_resize_upsample_sizes_nearest_axes_3_2",
        "test_resize_upsample_sizes_nearest_not_larger",
    ],
}
EXCLUDED = {name: reason for reason, names in LEFT_OUT.items() for name in names}


@functools.cache
def cases() -> dict[str, Any]:
    """The suite's cases of our operators. Each operator's module adds its own when it is first imported."""
    modules = {"BatchNormalization": "batch_normalization"}  # the only one not called as its operator is
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        suite = importlib.import_module("onnx.backend.test.case.node")
        for op_type in node_adapter.NODES:
            importlib.import_module(f"onnx.backend.test.case.node.{modules.get(op_type, op_type.lower())}")
    # A case whose name ends in _expanded is the same one, written in other operators.
    graphs = ((case, case.model.graph.node) for case in suite._NodeTestCases)
    return {case.name: case for case, nodes in graphs if len(nodes) == 1 and nodes[0].op_type in node_adapter.NODES}


def attribute(proto: Any) -> Any:
    value = onnx.helper.get_attribute_value(proto)
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("name", sorted(set(cases()) - set(EXCLUDED)))
def test_node(name):
    case = cases()[name]
    (node,) = case.model.graph.node
    attributes = {proto.name: attribute(proto) for proto in node.attribute}
    present = [graph_input.name for graph_input in case.model.graph.input]
    for inputs, expected in case.data_sets:
        arrays = dict(zip(present, inputs, strict=True))
        arguments = [arrays.get(given) for given in node.input]  # an input named "" is not given
        results = node_adapter.run(node.op_type, attributes, arguments, len(node.output))
        assert len(results) == len(expected)
        for y, expected_y in zip(results, expected, strict=True):
            assert y.dtype == expected_y.dtype
            np.testing.assert_allclose(y, expected_y, rtol=case.rtol if name in ROUNDED else RTOL, atol=ATOL)


def test_every_operator_has_cases_and_every_exclusion_is_one():
    assert {case.model.graph.node[0].op_type for case in cases().values()} == set(node_adapter.NODES)
    assert set(EXCLUDED) <= set(cases()), "an excluded case is no longer in the suite"
