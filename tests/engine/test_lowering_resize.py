"""`resize`, planned and run in NumPy, against the oracle of graphs: every rule for coordinates, rounding and the
border; and which of them are a single step on the kernels of ops/resample."""

from __future__ import annotations

import numpy as np
import pytest
import steps_in_numpy
from laid_out import LAYOUTS, Arranged, check, one
from neocog.engine.builder import last_order
from neocog.engine.graph import GraphError

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
TOLERANCE = 1e-12


def rows(*shape: int) -> Arranged:
    return LAYOUTS["rows"](shape, np.random.default_rng(0))


def channels_last(*shape: int) -> Arranged:
    return LAYOUTS["channels_last"](shape, np.random.default_rng(0))


SIZES = {
    "up": (2, 3, 7, 9),
    "double": (2, 3, 8, 10),
    "down": (2, 3, 2, 3),
    "mixed": (2, 3, 8, 2),
    "one_axis": (2, 3, 4, 9),
    "to_a_line": (2, 3, 1, 7),
    "to_a_pixel": (2, 3, 1, 1),
    "channels": (2, 4, 4, 6),
}


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_to_sizes(mode, sizes, coordinates):
    for x in (rows(2, 3, 4, 5), channels_last(2, 3, 4, 5)):
        check("resize", x, sizes, mode=mode, coordinates=coordinates, tolerance=TOLERANCE)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("scales", [(2.0, 2.0), (0.6, 0.7), (1.3, 2.6), (3.5, 0.5), (1.1, 1.0)])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_by_scales_that_sizes_do_not_tell(mode, scales, coordinates):
    scales = np.array((1, 1, *scales), np.float32)
    check("resize", rows(1, 2, 4, 7), None, scales, mode=mode, coordinates=coordinates, tolerance=TOLERANCE)


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("size", [2, 3, 4, 8, 12])
def test_nearest_breaks_ties_as_it_says(size, coordinates, nearest):
    check("resize", rows(1, 2, 4), [1, 2, size], mode="nearest", coordinates=coordinates, nearest=nearest)


@pytest.mark.parametrize("exclude_outside", [False, True])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("sizes", [(3, 4), (5, 2), (9, 12), (1, 1)])
def test_filters_and_the_border(sizes, mode, antialias, exclude_outside):
    settings = {"coordinates": "half_pixel", "antialias": antialias, "exclude_outside": exclude_outside}
    check("resize", rows(1, 1, 7, 9), (1, 1, *sizes), mode=mode, tolerance=TOLERANCE, **settings)


@pytest.mark.parametrize("coefficient", [-0.5, -0.75])
def test_cubic_coefficient(coefficient):
    settings = {"coordinates": "half_pixel", "cubic_coeff": coefficient, "tolerance": TOLERANCE}
    check("resize", rows(1, 2, 5, 6), (1, 2, 9, 11), mode="cubic", **settings)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("mode", "coordinates"), [("nearest", "asymmetric"), ("linear", "half_pixel"), ("cubic", "half_pixel")]
)
@pytest.mark.parametrize(
    ("shape", "sizes"),
    [((2, 3, 4), (2, 3, 7)), ((2, 3, 4, 5), (2, 3, 6, 3)), ((2, 3, 4, 2, 3), (2, 3, 2, 5, 6)), ((3, 4), (5, 3))],
)
def test_any_rank_and_layout(shape, sizes, mode, coordinates, layout, rng):
    check("resize", LAYOUTS[layout](shape, rng), sizes, mode=mode, coordinates=coordinates, tolerance=TOLERANCE)


def test_without_images_there_is_nothing_to_do():
    graph, arrays = one("resize", rows(0, 3, 4, 5), (0, 3, 8, 9), mode="linear", coordinates="half_pixel")
    build = steps_in_numpy.plan(graph, arrays)
    assert build.steps == []
    assert build.views["y"].shape == (0, 3, 8, 9)


# Steps

SAME = {"sizes": ((2, 3, 4, 5), None), "scales": (None, np.ones(4, np.float32))}


@pytest.mark.parametrize(("sizes", "scales"), SAME.values(), ids=SAME)
def test_the_same_size_is_a_view(sizes, scales):
    settings = {"mode": "cubic", "coordinates": "half_pixel"}
    assert check("resize", channels_last(2, 3, 4, 5), sizes, scales, **settings).steps == []


# mode, coordinates, and sizes of (2, 3, 8, 6); the kernel's arguments
KERNELS = {
    "nearest_up": ("nearest", "asymmetric", (2, 3, 13, 11), (0, False)),
    "nearest_down": ("nearest", "asymmetric", (2, 3, 3, 5), (0, False)),
    "nearest_double": ("nearest", "half_pixel", (2, 3, 16, 12), (0, False)),
    "linear_up": ("linear", "half_pixel", (2, 3, 13, 11), (1, False)),
    "linear_down": ("linear", "half_pixel", (2, 3, 3, 5), (1, False)),
    "linear_one_axis": ("linear", "half_pixel", (2, 3, 8, 9), (1, False)),
    "linear_pytorch": ("linear", "pytorch_half_pixel", (2, 3, 3, 11), (1, False)),
    "linear_symmetric": ("linear", "half_pixel_symmetric", (2, 3, 3, 11), (1, False)),
    "linear_corners": ("linear", "align_corners", (2, 3, 15, 3), (1, True)),
    "linear_corners_to_one": ("linear", "align_corners", (2, 3, 1, 3), (1, True)),
}


@pytest.mark.parametrize(("mode", "coordinates", "sizes", "arguments"), KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("arrange", [rows, channels_last])
def test_rules_of_pytorch_are_one_step(arrange, mode, coordinates, sizes, arguments):
    settings = {"mode": mode, "coordinates": coordinates}
    if coordinates == "half_pixel":
        settings["nearest"] = "round_prefer_floor"  # ONNX' default, which doubles as floor does from a corner
    graph, arrays = one("resize", arrange(2, 3, 8, 6), sizes, delivered=False, **settings)
    (step,) = steps_in_numpy.plan(graph, arrays).steps
    assert step.method == "resize"
    assert step.arguments[2:] == arguments
    assert step.writes[0].is_dense(last_order(4) if arrange is channels_last else None)


def test_a_scale_that_is_the_ratio_of_the_sizes_is_one_step():
    scales = np.array([1, 1, 2, 0.5], np.float32)
    build = check(
        "resize", rows(1, 2, 4, 6), None, scales, mode="linear", coordinates="half_pixel", tolerance=TOLERANCE
    )
    assert steps_in_numpy.methods(build) == ["resize"]


# What looks like a rule of the kernels, but is not: mode, coordinates, sizes, scales, other settings
OTHERS = {
    "scale_is_not_the_ratio": ("linear", "half_pixel", None, (1, 1, 1.3, 1), {}),
    "nearest_scale_is_not_the_ratio": ("nearest", "asymmetric", None, (1, 1, 1, 1.3), {}),
    "linear_asymmetric": ("linear", "asymmetric", (1, 2, 8, 12), None, {}),
    "one_output": ("linear", "pytorch_half_pixel", (1, 2, 4, 1), None, {}),
    "rounding": ("nearest", "half_pixel", (1, 2, 3, 6), None, {"nearest": "round_prefer_floor"}),
    "antialias": ("linear", "half_pixel", (1, 2, 2, 6), None, {"antialias": True}),
    "channels": ("linear", "half_pixel", (1, 3, 4, 6), None, {}),
    "cubic": ("cubic", "half_pixel", (1, 2, 8, 6), None, {}),
}


@pytest.mark.parametrize(("mode", "coordinates", "sizes", "scales", "settings"), OTHERS.values(), ids=OTHERS)
def test_other_rules_are_tables(mode, coordinates, sizes, scales, settings):
    scales = None if scales is None else np.array(scales, np.float32)
    settings = {"mode": mode, "coordinates": coordinates, **settings}
    build = check("resize", rows(1, 2, 4, 6), sizes, scales, tolerance=TOLERANCE, **settings)
    assert set(steps_in_numpy.methods(build)) == {"interpolate"}


def test_nearest_pixels_that_float32_would_miss_are_tables():
    """PyTorch rounds 41 * (1 / 41) down to 0 in float32; ONNX' position is 1."""
    settings = {"mode": "nearest", "coordinates": "asymmetric"}
    assert steps_in_numpy.methods(check("resize", rows(1, 1, 3), (1, 1, 123), **settings)) == ["interpolate"]
    assert steps_in_numpy.methods(check("resize", rows(1, 1, 3), (1, 1, 120), **settings)) == ["resize"]


def test_antialiasing_that_has_nothing_to_do_is_one_step():
    settings = {"mode": "linear", "coordinates": "half_pixel", "antialias": True}
    build = check("resize", rows(1, 2, 4, 6), (1, 2, 8, 9), tolerance=TOLERANCE, **settings)
    assert steps_in_numpy.methods(build) == ["resize"]


def test_the_axis_that_shrinks_most_comes_first():
    build = check(
        "resize", rows(1, 8, 8, 8), (1, 12, 4, 2), mode="cubic", coordinates="half_pixel", tolerance=TOLERANCE
    )
    assert [step.arguments[2] for step in build.steps] == [3, 2, 1]


@pytest.mark.parametrize(("mode", "method"), [("linear", "resize"), ("cubic", "interpolate")])
def test_a_result_of_the_call_is_made_row_major_from_the_smaller_image(mode, method):
    """The last step of most segmentation networks: eight times the size, which is dear to turn."""
    graph, arrays = one("resize", channels_last(1, 3, 4, 5), (1, 3, 32, 40), mode=mode, coordinates="half_pixel")
    build = steps_in_numpy.plan(graph, arrays)
    first, *others = build.steps
    assert (first.method, first.writes[0].shape) == ("copy", (1, 3, 4, 5))
    assert {step.method for step in others} == {method}
    assert build.views["y"].is_dense()


# Errors

ERRORS = {
    "both": ((1, 2, 3), (1.0, 1.0, 2.0), "both sizes and scales; it must have one of the two"),
    "neither": (None, None, "no sizes and scales; it must have one of the two"),
    "few": ((2, 3), None, r"the sizes are \[2, 3\], but shape \(1, 2, 4\) has 3 axes"),
    "zero": ((1, 2, 0), None, r"the sizes are \[1, 2, 0\]; they must be positive"),
    "negative": (None, (1.0, 1.0, -2.0), "the scales .* must be positive"),
    "infinite": (None, (1.0, 1.0, np.inf), "the scales .* must be positive"),
    "too_small": (None, (1.0, 1.0, 0.1), r"which leaves nothing of axis 2 of shape \(1, 2, 4\)"),
    "unknown": ("x", None, "'x' must be known when the plan is made"),
}


@pytest.mark.parametrize(("sizes", "scales", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(sizes, scales, message):
    graph, arrays = one("resize", rows(1, 2, 4), sizes, scales, mode="linear", coordinates="half_pixel")
    with pytest.raises(GraphError, match=rf"^resize \(y\): .*{message}"):
        steps_in_numpy.plan(graph, arrays)


def test_an_image_without_pixels_is_refused():
    graph, arrays = one("resize", rows(1, 2, 0), (1, 2, 4), mode="linear", coordinates="half_pixel")
    with pytest.raises(GraphError, match=r"axis 2 of shape \(1, 2, 0\) has no element to read"):
        steps_in_numpy.plan(graph, arrays)
