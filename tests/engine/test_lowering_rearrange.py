"""Operators that only move elements, planned and run in NumPy, against the oracle of graphs: exactly, for every way in
which an input can lie; and that those which need no memory take none."""

from __future__ import annotations

import numpy as np
import pytest
import steps_in_numpy
from laid_out import LAYOUTS, Arranged, check, one
from neocog.engine.builder import Builder, last_order
from neocog.engine.graph import Graph, GraphError, Input, Node
from reference_graph import run as oracle

LAST = np.iinfo(np.int64).max  # "to the end", as ONNX has it


@pytest.fixture(params=LAYOUTS)
def lay(request, rng):
    return lambda *shape: LAYOUTS[request.param](shape, rng)


def rows(*shape: int) -> Arranged:
    return LAYOUTS["rows"](shape, np.random.default_rng(0))


def channels_last(*shape: int) -> Arranged:
    return LAYOUTS["channels_last"](shape, np.random.default_rng(0))


VIEWS = {
    "identity": ("identity", (2, 3, 4), (), {}),
    "transpose": ("transpose", (2, 3, 4, 5), (), {"permutation": [3, 1, 0, 2]}),
    "transpose_by_negative_axes": ("transpose", (2, 3, 4), (), {"permutation": [0, -1, 1]}),
    "squeeze": ("squeeze", (2, 1, 4, 1), (), {"axes": [1]}),
    "squeeze_all": ("squeeze", (1, 3, 1, 1), (), {}),
    "squeeze_from_the_end": ("squeeze", (2, 3, 1), (), {"axes": [-1]}),
    "unsqueeze": ("unsqueeze", (2, 3), (), {"axes": [0, 2]}),
    "unsqueeze_from_the_end": ("unsqueeze", (2, 3), (), {"axes": [-1, -4]}),
    "slice": ("slice", (5, 6, 7), ([1, 0], [4, 5]), {}),
    "slice_some_axes": ("slice", (5, 6, 7), ([1, -3], [LAST, -1], [2, -2]), {}),
    "slice_with_steps": ("slice", (5, 6, 7), ([0, 1], [LAST, 6], [0, 2], [2, 3]), {}),
    "slice_backwards": ("slice", (5, 6, 7), ([-1, 4], [-LAST, 0], [1, 2], [-1, -2]), {}),
    "slice_of_nothing": ("slice", (5, 6), ([3], [3], [1]), {}),
    "slice_beyond_the_end": ("slice", (5, 6), ([-99], [99], [0]), {}),
    "expand": ("expand", (3, 1, 5), ([3, 4, 5],), {}),
    "expand_to_more_axes": ("expand", (4, 1), ([2, 1, 6],), {}),
    "expand_to_nothing": ("expand", (1, 3), ([0, 3],), {}),
    "split_an_axis": ("reshape", (2, 12, 5), ([2, 3, 4, 5],), {}),
    "reshape_of_ones": ("reshape", (2, 3, 1), ([1, 2, 1, 3],), {}),
    "reshape_copies_sizes": ("reshape", (2, 6, 5), ([0, 2, -1, 5],), {}),
    "flatten_one": ("flatten", (2, 3, 4), (), {"start": 2}),
    "gather_one": ("gather", (4, 5, 6), (-2,), {"axis": 1}),
    "gather_a_run": ("gather", (4, 5, 6), ([1, 2, 3],), {"axis": 1}),
    "gather_backwards": ("gather", (4, 5, 6), ([4, 2, 0],), {"axis": -2}),
    "gather_the_same": ("gather", (4, 5, 6), ([2, 2],), {"axis": 0}),
    "gather_a_table": ("gather", (4, 6), ([[0, 1, 2], [3, 4, 5]],), {"axis": 1}),
    "tile_of_ones": ("tile", (3, 1, 2), ([1, 4, 1],), {}),
    "pad_that_crops": ("pad", (5, 6, 7), ([0, -1, -2, 0, 0, -1],), {}),
    "pad_by_nothing": ("pad", (5, 6), ([0, 0, 0, 0],), {"mode": "reflect"}),
    "concat_of_one": ("concat", (5, 6), (), {"axis": 1}),
}


@pytest.mark.parametrize(("op", "shape", "numbers", "attributes"), VIEWS.values(), ids=VIEWS)
def test_views_take_no_steps(op, shape, numbers, attributes, lay):
    assert check(op, lay(*shape), *numbers, **attributes).steps == []


COPIES = {
    "flatten": ("flatten", (2, 3, 4, 5), (), {}),
    "flatten_to_one_axis": ("flatten", (2, 3, 4), (), {"start": 0}),
    "flatten_the_middle": ("flatten", (2, 3, 4, 5), (), {"start": -3, "end": -2}),
    "merge_axes": ("reshape", (4, 3, 5, 2), ([-1, 5, 2],), {}),
    "merge_and_split": ("reshape", (4, 6, 5), ([3, 8, 5],), {}),
    "regroup_all": ("reshape", (4, 6, 5), ([5, 4, 6],), {}),
    "tile": ("tile", (2, 3, 4), ([2, 1, 3],), {}),
    "tile_more_axes": ("tile", (3, 4), ([2, 1, 2],), {}),
    "tile_fewer_axes": ("tile", (2, 3, 4), ([2],), {}),
    "tile_to_nothing": ("tile", (2, 3), ([0, 1],), {}),
    "gather_two_runs": ("gather", (4, 5, 6), ([3, 4, 0, 1],), {"axis": 1}),
    "gather_from_the_end": ("gather", (4, 5, 6), ([0, -1, 1, -5],), {"axis": -2}),
    "gather_many": ("gather", (4, 9, 3), ([i * i % 9 for i in range(60)],), {"axis": 1}),
    "gather_many_of_a_table": (
        "gather",
        (4, 9),
        ([[i * i % 9 for i in range(j, j + 10)] for j in range(6)],),
        {"axis": 1},
    ),
    "gather_a_small_table": ("gather", (4, 5, 6), ([[0, 3], [3, 2]],), {"axis": 1}),
    "gather_nothing": ("gather", (4, 5), (np.zeros((0, 2), np.int64),), {"axis": 1}),
    "shuffle": ("pixel_shuffle", (2, 12, 3, 4), (), {"factor": 2}),
    "shuffle_by_three": ("pixel_shuffle", (1, 9, 2, 5), (), {"factor": 3}),
    "shuffle_without_batch": ("pixel_shuffle", (8, 3, 4), (), {"factor": 2}),
    "shuffle_two_batches": ("pixel_shuffle", (2, 3, 4, 3, 4), (), {"factor": 2}),
    "unshuffle": ("pixel_unshuffle", (2, 3, 6, 4), (), {"factor": 2}),
    "unshuffle_without_batch": ("pixel_unshuffle", (2, 6, 9), (), {"factor": 3}),
    "depth_to_space": ("depth_to_space", (2, 12, 3, 4), (), {"factor": 2}),
    "space_to_depth": ("space_to_depth", (2, 3, 4, 6), (), {"factor": 2}),
}


@pytest.mark.parametrize(("op", "shape", "numbers", "attributes"), COPIES.values(), ids=COPIES)
def test_copies(op, shape, numbers, attributes, lay):
    check(op, lay(*shape), *numbers, **attributes)


def test_a_reshape_copies_only_what_strides_cannot_say():
    assert check("flatten", rows(2, 3, 4, 5)).steps == []
    assert steps_in_numpy.methods(check("flatten", channels_last(2, 3, 4, 5))) == ["copy"]
    assert check("flatten", channels_last(2, 3, 4, 5), start=2).steps == []
    assert check("flatten", channels_last(2, 3, 1, 1)).steps == []


def shuffle_channels(shape: tuple[int, ...], groups: int) -> list[Node]:
    """ShuffleNet's shuffle of the channels of "x"."""
    ndim = len(shape) + 1
    return [
        Node("reshape", ("x", "grouped"), ("groups",)),
        Node("transpose", ("groups",), ("turned",), {"permutation": [0, 2, 1, *range(3, ndim)]}),
        Node("reshape", ("turned", "whole"), ("shuffled",)),
        Node("identity", ("shuffled",), ("y",)),
    ]


def test_a_shuffle_of_channels_stays_channels_last():
    array, nodes, _ = channels_last(2, 6, 4, 5)
    numbers = {"grouped": np.array([2, 3, 2, 4, 5]), "whole": np.array([2, 6, 4, 5])}
    nodes = [*nodes, *shuffle_channels(array.shape, 3)]
    graph = Graph([Input("in", array.shape)], ["y"], nodes, numbers)
    build = steps_in_numpy.plan(graph, [array])
    assert steps_in_numpy.methods(build) == ["copy"]
    assert build.views["y"].is_dense(last_order(4))
    expected = array.reshape(2, 3, 2, 4, 5).swapaxes(1, 2).reshape(2, 6, 4, 5)
    np.testing.assert_array_equal(steps_in_numpy.execute(build, [array])[0], expected)


def test_heads_are_joined_to_rows_of_features():
    """(N, heads, L, D) to (N, L, heads * D), which has three axes but is no image."""
    array, nodes, _ = rows(2, 3, 5, 4)
    nodes = [
        *nodes,
        Node("transpose", ("x",), ("turned",), {"permutation": [0, 2, 1, 3]}),
        Node("reshape", ("turned", "whole"), ("joined",)),
        Node("identity", ("joined",), ("y",)),
    ]
    graph = Graph([Input("in", array.shape)], ["y"], nodes, {"whole": np.array([0, 0, -1])})
    build = steps_in_numpy.plan(graph, [array])
    assert steps_in_numpy.methods(build) == ["copy"]
    assert build.views["y"].is_dense()


# concat


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("other", LAYOUTS)
def test_concat(axis, other, lay, rng):
    shape = [2, 3, 4, 5]
    x = lay(*shape)
    shape[axis] += 2
    second, _, _ = LAYOUTS["channels_last" if other == "channels_last" else "rows"](shape, rng)
    build = check("concat", x, "second", np.ones([2, 3, 4, 5]), "second", inputs={"second": second}, axis=axis)
    assert steps_in_numpy.methods(build) == ["copy"] * 4


def test_concat_with_nothing_copies_nothing(lay):
    build = check("concat", lay(2, 3, 4), np.zeros((2, 0, 4)), axis=1)
    assert steps_in_numpy.methods(build) == ["copy"]


@pytest.mark.parametrize(
    ("arranged", "last"), [((channels_last, channels_last), True), ((rows, rows), False), ((rows, channels_last), True)]
)
def test_concat_lies_as_most_elements_of_its_inputs_do(arranged, last):
    x, second = arranged[0](2, 3, 4, 5), arranged[1](2, 4, 4, 5)[0]
    graph, arrays = one("concat", x, "second", inputs={"second": second}, axis=1, delivered=False)
    build = steps_in_numpy.plan(graph, arrays)
    assert build.views["z"].is_dense(last_order(4) if last else None)


def test_tokens_are_joined_as_rows_of_features():
    """A class token, expanded to the batch, before (N, L, C) tokens: it lies in either order, so they decide."""
    nodes = [
        Node("expand", ("token", "whole"), ("all_tokens",)),
        Node("concat", ("all_tokens", "x"), ("joined",), {"axis": 1}),
        Node("identity", ("joined",), ("y",)),
    ]
    constants = {"token": np.ones((1, 1, 6), np.float32), "whole": np.array([2, 1, 6])}
    build = steps_in_numpy.plan(Graph([Input("x", (2, 5, 6))], ["y"], nodes, constants), [np.zeros((2, 5, 6))])
    assert build.views["y"].is_dense()


# pad

PADS = {
    "both_axes": [0, 0, 1, 2, 0, 0, 3, 1],
    "one_side": [0, 0, 0, 0, 0, 0, 2, 0],
    "crop_and_pad": [0, 0, -1, 2, 0, 0, 3, -2],
    "crop_and_pad_an_axis_each": [0, 0, -2, 2, 0, 0, 0, 3],
    "channels": [0, 1, 1, 0, 0, 2, 0, 1],
    "batch": [1, 0, 0, 2, 1, 0, 0, 0],
}


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("pads", PADS.values(), ids=PADS)
def test_pad(pads, mode, lay):
    check("pad", lay(2, 3, 5, 4), pads, mode=mode)


@pytest.mark.parametrize("value", [1.5, -np.inf])
def test_pad_by_a_value(value, lay):
    check("pad", lay(2, 3, 4), [0, 1, 2, 1, 0, 1], value=value)


def test_pad_of_nothing_is_all_border(lay):
    build = check("pad", lay(2, 0, 3), [0, 2, 0, 0, 1, 1], value=2.0)
    assert set(steps_in_numpy.methods(build)) == {"copy"}


def test_pad_fills_each_side_at_once_and_copies_the_inside_once():
    build = check("pad", channels_last(2, 3, 5, 4), [0, 0, 1, 1, 0, 0, 1, 1])
    assert steps_in_numpy.methods(build) == ["copy"] * 5
    assert sum(step.writes[0].size for step in build.steps) == 2 * 3 * 7 * 6


def test_pad_reads_reflections_of_what_it_crops(lay):
    """Pixels 3, 4, 3, 2, 1 of five: the last ones are reflected beyond where the axis now begins."""
    check("pad", lay(1, 1, 5), [0, 0, -3, 0, 0, 3], mode="reflect")


# where


def check_where(x: Arranged, condition: object, other: object) -> Builder:
    """where(condition, x, other), whose first input is not the data."""
    array, nodes, constants = x
    constants = constants | {"condition": np.asarray(condition), "other": np.asarray(other, np.float64)}
    nodes = [*nodes, Node("where", ("condition", "x", "other"), ("y",))]
    graph = Graph([Input("in", array.shape, "float64")], ["y"], nodes, constants)
    build = steps_in_numpy.plan(graph, [array])
    np.testing.assert_array_equal(steps_in_numpy.execute(build, [array])[0], oracle(graph, [array])[0])
    return build


@pytest.mark.parametrize(
    "condition",
    [
        [[True], [False], [True], [True]],
        [False, True, True, False, True],
        np.tri(4, 5, dtype=bool),
        np.arange(60).reshape(3, 4, 5) % 7 < 3,
        np.arange(40).reshape(2, 1, 4, 5) % 3 == 0,
    ],
    ids=["rows", "columns", "triangle", "each_channel", "broadcast"],
)
def test_where_a_known_condition_chooses(condition, lay):
    check_where(lay(2, 3, 4, 5), condition, -np.inf)


@pytest.mark.parametrize(
    "condition", [True, [[False], [False]], np.ones((4, 1, 1), bool)], ids=["all", "none", "more_axes"]
)
def test_where_without_a_choice_takes_no_steps(condition, lay):
    assert check_where(lay(2, 3), condition, 7.0).steps == []


def test_where_keeps_what_is_not_chosen_out_of_the_result():
    """A product with the mask would let a NaN through."""
    x = np.full((2, 3), np.nan), [Node("identity", ("in",), ("x",))], {}
    build = check_where(x, [False, True, False], 1.0)
    assert steps_in_numpy.methods(build) == ["copy"] * 3


# Errors

ERRORS = {
    "permutation": ("transpose", (2, 3), (), {"permutation": [0]}, r"`permutation` is \[0\].*\(2, 3\) has 2 axes"),
    "permutation_twice": ("transpose", (2, 3), (), {"permutation": [1, 1]}, "name axis 1 twice"),
    "reshape": ("reshape", (2, 3), ([4, 2],), {}, r"6 elements of shape \(2, 3\) do not fit into \[4, 2\]"),
    "squeeze": ("squeeze", (2, 3), (), {"axes": [1]}, r"axis 1, which has 3 elements in shape \(2, 3\)"),
    "unsqueeze": ("unsqueeze", (2, 3), (), {"axes": [5]}, "axis 5 is not one of 3 axes"),
    "flatten": ("flatten", (2, 3), (), {"start": 1, "end": 0}, "`start` is axis 1 and `end` axis 0"),
    "slice": ("slice", (2, 3), ([0], [1], [0], [0]), {}, "the step of axis 0 is 0"),
    "expand": ("expand", (2, 3), ([2, 4],), {}, r"shapes \(2, 3\), \(2, 4\) do not broadcast"),
    "tile": ("tile", (2, 3), ([1, -1],), {}, r"the repeats are \[1, -1\]"),
    "gather": ("gather", (2, 3), ([0, 3],), {"axis": 1}, r"index 3 is out of range .* go from -3 to 2"),
    "gather_below": ("gather", (2, 3), ([-3],), {}, r"index -3 is out of range .* go from -2 to 1"),
    "gather_floats": ("gather", (2, 3), ([0.0],), {}, "they must be integers"),
    "concat": ("concat", (2, 3), (np.ones((3, 3)),), {"axis": 1}, r"\(3, 3\) and 'x' \(2, 3\); all sizes but"),
    "concat_ranks": ("concat", (2, 3), (np.ones(3),), {"axis": 0}, r"has the shape \(3,\)"),
    "pads": ("pad", (2, 3), ([1, 1],), {}, r"2 numbers; shape \(2, 3\) needs 4"),
    "crop": ("pad", (2, 3), ([0, -2, 0, -2],), {}, r"axis 1 of shape \(2, 3\) .* crop more than that"),
    "reflect": ("pad", (2, 3), ([0, 3, 0, 0],), {"mode": "reflect"}, "too large for mode 'reflect', .* up to 2"),
    "circular": ("pad", (2, 3), ([0, 3, 0, -1],), {"mode": "circular"}, "too large for mode 'circular', .* up to 2"),
    "shuffle": ("pixel_shuffle", (1, 6, 2, 2), (), {"factor": 2}, "6 channels .* are not a multiple of 4"),
    "shuffle_rank": ("pixel_shuffle", (4, 2), (), {"factor": 2}, "has 2 axes; it must have three or more"),
    "unshuffle": ("pixel_unshuffle", (1, 2, 4, 5), (), {"factor": 2}, "4 x 5 pixels .* are not multiples"),
    "unknown_shape": ("reshape", (2, 3), ("x",), {}, "'x' must be known when the plan is made"),
    "cast": ("cast", (2, 3), (), {"dtype": "int64"}, "`dtype` is 'int64'.*data are float32"),
    "compare": ("greater", (2, 3), (0.0,), {}, "'x' must be known when the plan is made"),
}


@pytest.mark.parametrize(("op", "shape", "numbers", "attributes", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_name_the_node_and_the_repair(op, shape, numbers, attributes, message):
    graph, arrays = one(op, rows(*shape), *numbers, **attributes)
    with pytest.raises(GraphError, match=rf"^{op} \(y\): .*{message}"):
        steps_in_numpy.plan(graph, arrays)


def test_a_condition_without_pattern_is_refused():
    noise = np.random.default_rng(0).random((100, 100)) < 0.5
    with pytest.raises(GraphError, match="changes its value more than 4096 times; multiply by the mask"):
        check_where(rows(100, 100), noise, 0.0)


def test_an_unknown_condition_is_refused():
    graph, arrays = one("where", rows(2, 3), 1.0, 2.0)
    with pytest.raises(GraphError, match=r"where \(y\): 'x' must be known"):
        steps_in_numpy.plan(graph, arrays)
