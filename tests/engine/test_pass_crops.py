"""Slices of a convolution's result become padding only where the same pixels are left, for images of any size."""

from __future__ import annotations

import pytest
from neocog.engine.graph import Input
from neocog.engine.passes.crops import crops
from pass_checks import Net, assert_untouched, check, ops

END = 2**31 - 1
SMALL = {"n": 1, "h": 1, "w": 1, "l": 1}


def cut(net: Net, x: str, starts: tuple[int, ...], ends: tuple[int, ...], *more: tuple[int, ...]) -> str:
    return net.node("slice", x, *(net.numbers(*numbers) for numbers in (starts, ends, *more)))


def causal(net: Net, **options) -> str:
    """As temporal networks write it: padded on both sides, cut off at the end."""
    return net.conv("s", (5, 3, 3), **({"padding": 4, "dilation": 2} | options))


def deconv(net: Net, **options) -> str:
    return net.conv("x", (4, 3, 3, 3), op="conv_transpose", **({"stride": 2} | options))


def to_twice_the_input(net: Net) -> str:
    """2 h + 1 rows, cut to 2 h, which the graph computes."""
    rows = net.node("mul", net.node("shape", "x", start=2, end=3), net.numbers(2))
    return net.node("slice", deconv(net), net.numbers(0), rows, net.numbers(2))


INTO = {
    "causal": lambda net: cut(net, causal(net), (0,), (-4,), (2,)),
    "causal_with_its_activation": lambda net: cut(net, causal(net, activation="relu"), (0,), (-4,), (-1,), (1,)),
    "causal_the_other_way": lambda net: cut(net, causal(net), (4,), (END,), (2,)),
    "causal_in_steps": lambda net: cut(net, causal(net, stride=2), (0,), (-2,), (2,)),
    "the_begin_in_steps": lambda net: cut(net, causal(net, stride=2), (2,), (END,), (2,)),
    "both_ends_of_both_axes": lambda net: cut(net, net.conv("x", (5, 4, 3, 3), padding=2), (1, 0), (-1, -2), (2, 3)),
    "all_axes": lambda net: cut(net, net.conv("x", (5, 4, 3, 3), padding=2), (0, 0, 0, 1), (END, END, -1, END)),
    "transposed": lambda net: cut(net, deconv(net), (1, 0), (END, -1), (2, 3)),
    "transposed_of_groups": lambda net: cut(
        net, net.conv("x", (4, 3, 4, 4), op="conv_transpose", stride=2, padding=1, groups=2), (0,), (-1,), (2,)
    ),
    "transposed_to_a_size_that_is_computed": to_twice_the_input,
    "twice": lambda net: cut(net, cut(net, net.conv("f", (5, 4, 3, 3), padding=2), (1,), (7,), (2,)), (0,), (6,), (3,)),
    "to_an_end_that_lies_beyond": lambda net: cut(net, net.conv("f", (5, 4, 3, 3), padding=2), (-7,), (100,), (2,)),
}


def crops_twice(graph):
    return crops(crops(graph))


@pytest.mark.parametrize("written", INTO.values(), ids=INTO)
def test_the_slice_goes_into_the_padding(written, rng):
    net = Net(rng, x=("n", 4, "h", "w"), s=("n", 3, "l"), f=(1, 4, 6, 6))
    graph = net.graph(written(net))
    assert ops(check(graph, crops_twice))["slice"] == 0
    check(graph, crops_twice, sizes=SMALL)


STAYS = {
    "channels": lambda net: cut(net, causal(net), (1,), (END,), (1,)),
    "every_other_pixel": lambda net: cut(net, causal(net), (0,), (END,), (2,), (2,)),
    "backwards": lambda net: cut(net, causal(net), (-1,), (-END,), (2,), (-1,)),
    "a_crop_beyond_the_padding": lambda net: cut(net, causal(net), (0,), (-5,), (2,)),
    "a_crop_beyond_the_padding_of_one_end": lambda net: cut(net, causal(net, padding=[[9, 1]]), (0,), (-2,), (2,)),
    "a_crop_of_all_that_one_pixel_gives": lambda net: cut(net, causal(net), (4,), (-4,), (2,)),
    "a_crop_of_an_unpadded_convolution": lambda net: cut(net, causal(net, padding=0), (0,), (-1,), (2,)),
    "a_length": lambda net: cut(net, causal(net), (0,), (3,), (2,)),
    "an_end_counted_from_the_end": lambda net: cut(net, causal(net), (-3,), (END,), (2,)),
    "an_input": lambda net: net.node("slice", causal(net), net.numbers(0), "k", net.numbers(2)),
    "same_padding": lambda net: cut(net, causal(net, padding="same_upper"), (0,), (-1,), (2,)),
    "transposed_with_too_little": lambda net: cut(net, deconv(net, stride=1, padding=1), (0,), (-1,), (2,)),
    "transposed_of_given_size": lambda net: cut(net, deconv(net, output_size=[9, 9]), (0,), (-1,), (2,)),
    "a_pool": lambda net: cut(net, net.pool("max_pool", "x", 3, 1, 1), (0,), (-1,), (2,)),
}


@pytest.mark.parametrize("written", STAYS.values(), ids=STAYS)
def test_the_slice_stays(written, rng):
    net = Net(rng, x=("n", 4, "h", "w"), s=("n", 3, "l"))
    net.inputs.append(Input("k", (1,), "int64"))
    written(net)
    assert_untouched(net.graph(), crops)


def test_what_others_need_whole_is_not_cut(rng):
    net = Net(rng, s=("n", 3, "l"))
    y = causal(net)
    assert_untouched(net.graph(cut(net, y, (0,), (-4,), (2,)), net.node("tanh", y)), crops)


def test_a_residual_is_not_cut(rng):
    """It would have to be cut too."""
    net = Net(rng, s=("n", 3, "l"), longer=("n", 3, "m"))
    steps = {"stride": [1], "padding": [[2, 2]], "dilation": [1]}
    y = net.node("conv", "s", net.weights(3, 3, 3), None, "longer", **steps)
    assert_untouched(net.graph(cut(net, y, (0,), (-1,), (2,))), crops)
