"""The oracle of graphs against ONNX's own reference, for the operators whose semantics are ONNX's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neocog.engine.graph import Graph, Input, Node
from reference_graph import run

onnx = pytest.importorskip("onnx")

from onnx import helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

DTYPES = {np.dtype(np.float64): 11, np.dtype(np.float32): 1, np.dtype(np.int64): 7, np.dtype(bool): 9}


def theirs(op: str, *arrays: Any, **attributes: Any) -> np.ndarray:
    """What ONNX's reference makes of one node; None for an input that is absent."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(arrays)]
    feeds = {name: a for name, a in zip(names, arrays, strict=True) if a is not None}
    inputs = [helper.make_tensor_value_info(name, DTYPES[a.dtype], a.shape) for name, a in feeds.items()]
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph([node], "one", inputs, [helper.make_empty_tensor_value_info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    return ReferenceEvaluator(model).run(None, feeds)[0]


def ours(op: str, *arrays: Any, **attributes: Any) -> np.ndarray:
    names = tuple(None if a is None else f"x{i}" for i, a in enumerate(arrays))
    given = {name: a for name, a in zip(names, arrays, strict=True) if name is not None}
    inputs = [Input(name, a.shape, str(a.dtype)) for name, a in given.items()]
    return run(Graph(inputs, ["y"], [Node(op, names, ("y",), attributes)], {}), list(given.values()))[0]


COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
FLOAT32_CUBIC = 1e-5  # their cubic coefficients are float32
SIZES = {"up": (1, 2, 7, 9), "down": (1, 2, 2, 3), "mixed": (1, 2, 8, 2), "kept": (1, 2, 4, 5), "lines": (1, 2, 1, 7)}
TO_SIZES = [
    pytest.param(mode, sizes, coordinates, id=f"{mode}-{name}-{coordinates}")
    for mode in ("nearest", "linear", "cubic")
    for name, sizes in SIZES.items()
    for coordinates in COORDINATES
    if (mode, name, coordinates) != ("cubic", "lines", "pytorch_half_pixel")  # see the test of that
]


@pytest.mark.parametrize(("mode", "sizes", "coordinates"), TO_SIZES)
def test_resize_to_sizes(mode, sizes, coordinates, rng):
    x, sizes = rng.standard_normal((1, 2, 4, 5)), np.array(sizes)
    settings = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": "floor"}
    expected = theirs("Resize", x, None, None, sizes, **settings)
    y = ours("resize", x, sizes, mode=mode, coordinates=coordinates)
    np.testing.assert_allclose(y, expected, atol=FLOAT32_CUBIC if mode == "cubic" else 1e-12)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_to_one_output_is_the_first_pixel_in_pytorch_half_pixel(mode, rng):
    """So says ONNX's text; its reference takes position -0.5, which differs for cubic."""
    x = rng.standard_normal((4, 5))
    y = ours("resize", x, np.array([1, 1]), mode=mode, coordinates="pytorch_half_pixel")
    np.testing.assert_array_equal(y, x[:1, :1])


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("scales", [(2.0, 2.0), (0.6, 0.7), (1.3, 2.6), (3.5, 0.45)])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_by_scales_uses_the_scale_given_and_not_that_of_the_sizes(mode, scales, coordinates, rng):
    x, scales = rng.standard_normal((1, 1, 4, 7)), np.array((1, 1, *scales), np.float32)
    settings = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": "floor"}
    expected = theirs("Resize", x, None, scales, **settings)
    y = ours("resize", x, None, scales, mode=mode, coordinates=coordinates)
    np.testing.assert_allclose(y, expected, atol=FLOAT32_CUBIC if mode == "cubic" else 1e-12)


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("size", [2, 3, 4, 8, 12])
def test_resize_nearest_breaks_ties_as_it_says(size, coordinates, nearest, rng):
    x, sizes = rng.standard_normal((1, 4)), np.array([1, size])
    settings = {"coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
    expected = theirs("Resize", x, None, None, sizes, mode="nearest", **settings)
    y = ours("resize", x, sizes, mode="nearest", coordinates=coordinates, nearest=nearest)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("exclude_outside", [False, True])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("sizes", [(3, 4), (5, 2), (9, 12)])
def test_resize_at_the_border(sizes, mode, antialias, exclude_outside, rng):
    x, sizes = rng.standard_normal((6, 8)), np.array(sizes)
    theirs_too = {"mode": mode, "antialias": int(antialias), "exclude_outside": int(exclude_outside)}
    expected = theirs("Resize", x, None, None, sizes, cubic_coeff_a=-0.5, **theirs_too)
    settings = {"mode": mode, "antialias": antialias, "exclude_outside": exclude_outside, "cubic_coeff": -0.5}
    np.testing.assert_allclose(
        ours("resize", x, sizes, coordinates="half_pixel", **settings),
        expected,
        atol=FLOAT32_CUBIC if mode == "cubic" else 1e-12,
    )


@pytest.mark.parametrize(("mode", "coefficient"), [("linear", -0.75), ("cubic", -0.5)])
def test_resize_antialiased_without_the_outside_is_torchs(mode, coefficient, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((1, 2, 9, 11))
    settings = {"antialias": True, "exclude_outside": True, "cubic_coeff": coefficient, "coordinates": "half_pixel"}
    y = ours("resize", x, np.array([1, 2, 4, 5]), mode=mode, **settings)
    name = {"linear": "bilinear", "cubic": "bicubic"}[mode]
    expected = torch.nn.functional.interpolate(torch.from_numpy(x), (4, 5), mode=name, antialias=True)
    np.testing.assert_allclose(y, expected.numpy(), atol=1e-6)  # torch has float32 scales


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_lrn(size, rng):
    x = rng.standard_normal((5, 5, 3, 2))  # their reference sums as many channels as there are images
    settings = {"size": size, "alpha": 0.3, "beta": 0.6, "bias": 1.5}
    np.testing.assert_allclose(ours("lrn", x, **settings), theirs("LRN", x, **settings), rtol=1e-6)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode, rng):
    x = rng.standard_normal((2, 8, 3, 5))
    op = {"DCR": "depth_to_space", "CRD": "pixel_shuffle"}[mode]
    np.testing.assert_array_equal(ours(op, x, factor=2), theirs("DepthToSpace", x, blocksize=2, mode=mode))


def test_space_to_depth(rng):
    x = rng.standard_normal((2, 3, 4, 6))
    np.testing.assert_array_equal(ours("space_to_depth", x, factor=2), theirs("SpaceToDepth", x, blocksize=2))


REDUCTIONS = {
    "mean": "ReduceMean",
    "sum": "ReduceSum",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "prod": "ReduceProd",
    "sum_square": "ReduceSumSquare",
    "norm1": "ReduceL1",
    "norm2": "ReduceL2",
    "log_sum": "ReduceLogSum",
    "log_sum_exp": "ReduceLogSumExp",
}


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op, keepdims, rng):
    x = rng.uniform(0.5, 2, (2, 3, 4))
    for axes in ([1], [-1, 0], None):
        given = None if axes is None else np.array(axes)
        expected = theirs(REDUCTIONS[op], x, given, keepdims=int(keepdims))
        np.testing.assert_allclose(ours(op, x, axes=axes, keepdims=keepdims), expected, rtol=1e-12)


SLICES = {
    "from_the_end": ([-3], [-1], [1], [1]),
    "beyond_the_end": ([1, 0], [1000, 3], [0, 2], [1, 2]),
    "backwards": ([-1, 4], [-1000, 0], [2, 1], [-1, -2]),
    "empty": ([3], [1], [0], [1]),
}


@pytest.mark.parametrize("case", SLICES.values(), ids=SLICES)
def test_slice(case, rng):
    x, numbers = rng.standard_normal((4, 5, 6)), [np.array(part) for part in case]
    np.testing.assert_array_equal(ours("slice", x, *numbers), theirs("Slice", x, *numbers))


@pytest.mark.parametrize(
    ("ours_mode", "their_mode"),
    [("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")],
)
def test_pad(ours_mode, their_mode, rng):
    x, pads = rng.standard_normal((3, 4)), np.array([1, 0, 2, 3])
    expected = theirs("Pad", x, pads, mode=their_mode)
    np.testing.assert_array_equal(ours("pad", x, pads, mode=ours_mode), expected)


def test_numbers_of_the_plan(rng):
    x, indices = rng.standard_normal((2, 3, 4)), np.array([[0, -1], [2, 1]])
    np.testing.assert_array_equal(ours("gather", x, indices, axis=1), theirs("Gather", x, indices, axis=1))
    np.testing.assert_array_equal(ours("shape", x, start=-2), theirs("Shape", x, start=-2))
    few = (x > 0.3).astype(np.int64)
    np.testing.assert_array_equal(ours("nonzero", few), theirs("NonZero", few))
    limits = [np.array(n) for n in (7, -3, -4)]
    np.testing.assert_array_equal(ours("range", *limits), theirs("Range", *limits))
    shape = np.array([2, 1, 3, 1])
    np.testing.assert_array_equal(ours("expand", x, shape), theirs("Expand", x, shape))
    repeats = np.array([1, 2, 3])
    np.testing.assert_array_equal(ours("tile", x, repeats), theirs("Tile", x, repeats))
    condition = x > 0
    np.testing.assert_array_equal(ours("where", condition, x, -x), theirs("Where", condition, x, -x))
