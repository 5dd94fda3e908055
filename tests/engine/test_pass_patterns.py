"""Activations written out in arithmetic are recognised in every way that they are written, and nothing else is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from neocog.engine.passes.patterns import patterns
from pass_checks import Net, assert_untouched, check, ops

ROOT, TANH, CUBE = math.sqrt(0.5), math.sqrt(2 / math.pi), 0.044715


class Writer(Net):
    """Arithmetic with numbers."""

    def of(self, op: str, x: str, number: float, *, first: bool = False) -> str:
        constant = self.constant(number)
        return self.node(op, *((constant, x) if first else (x, constant)))

    def erf_gate(self, x: str) -> str:
        return self.of("add", self.node("erf", self.of("mul", x, ROOT)), 1)

    def six(self, x: str) -> str:
        return self.node("clip", self.of("add", x, 3), min=0.0, max=6.0)

    def cubic(self, x: str) -> str:
        return self.of("mul", self.node("add", x, self.of("mul", self.of("pow", x, 3), CUBE)), TANH)

    def tanh_gate(self, inner: str) -> str:
        return self.of("add", self.node("tanh", inner), 1, first=True)


WRITTEN = {
    "clip_0_6": (lambda w, x: w.node("clip", x, min=0, max=6.0), "relu6"),
    "clip_0": (lambda w, x: w.node("clip", x, min=0.0), "relu"),
    "maximum_0": (lambda w, x: w.of("maximum", x, 0, first=True), "relu"),
    "clip_0_then_6": (lambda w, x: w.node("clip", w.node("clip", x, min=0.0), max=6.0), "relu6"),
    "minimum_6_of_relu": (lambda w, x: w.of("minimum", w.node("relu", x), 6), "relu6"),
    "relu_of_relu6": (lambda w, x: w.node("relu", w.node("relu6", x)), "relu6"),
    "two_clips": (lambda w, x: w.node("clip", w.node("clip", x, min=-1.0, max=2.0), min=-2.0, max=1.0), "clip"),
    "silu": (lambda w, x: w.node("mul", x, w.node("sigmoid", x)), "silu"),
    "silu_sigmoid_first": (lambda w, x: w.node("mul", w.node("sigmoid", x), x), "silu"),
    "mish": (lambda w, x: w.node("mul", x, w.node("tanh", w.node("softplus", x))), "mish"),
    "hardswish_of_hardsigmoid": (lambda w, x: w.node("mul", x, w.node("hardsigmoid", x)), "hardswish"),
    "hardsigmoid": (lambda w, x: w.of("div", w.six(x), 6), "hardsigmoid"),
    "hardswish_divided_last": (lambda w, x: w.of("div", w.node("mul", x, w.six(x)), 6), "hardswish"),
    "hardswish_gate_divided": (lambda w, x: w.node("mul", w.of("div", w.six(x), 6), x), "hardswish"),
    "hardswish_x_divided": (lambda w, x: w.node("mul", w.of("mul", x, 1 / 6), w.six(x)), "hardswish"),
    "hardswish_in_two_clamps": (
        lambda w, x: w.of("div", w.node("mul", x, w.node("clip", w.node("clip", w.of("add", x, 3), min=0), max=6)), 6),
        "hardswish",
    ),
    "gelu_half_x_first": (lambda w, x: w.node("mul", w.of("mul", x, 0.5), w.erf_gate(x)), "gelu"),
    "gelu_half_last": (lambda w, x: w.of("mul", w.node("mul", x, w.erf_gate(x)), 0.5), "gelu"),
    "gelu_half_gate": (lambda w, x: w.node("mul", w.of("mul", w.erf_gate(x), 0.5, first=True), x), "gelu"),
    "gelu_divided": (
        lambda w, x: w.of("div", w.node("mul", x, w.of("add", w.node("erf", w.of("div", x, math.sqrt(2))), 1)), 2),
        "gelu",
    ),
    "gelu_tanh": (lambda w, x: w.node("mul", w.of("mul", x, 0.5), w.tanh_gate(w.cubic(x))), "gelu_tanh"),
    "gelu_tanh_cube_as_products": (
        lambda w, x: w.node(
            "mul",
            w.of("mul", x, 0.5),
            w.tanh_gate(w.of("mul", w.node("add", w.of("mul", w.node("mul", w.node("mul", x, x), x), CUBE), x), TANH)),
        ),
        "gelu_tanh",
    ),
    "gelu_tanh_x_taken_out": (
        lambda w, x: w.node(
            "mul",
            w.of("mul", x, 0.5),
            w.tanh_gate(w.node("mul", w.of("mul", x, TANH), w.of("add", w.of("mul", w.node("square", x), CUBE), 1))),
        ),
        "gelu_tanh",
    ),
    "celu_of_1": (lambda w, x: w.node("celu", x, alpha=1.0), "elu"),
    "prelu_of_one_slope": (lambda w, x: w.node("prelu", x, w.constant(np.full((4, 1, 1), 0.25))), "leaky_relu"),
}


def fixed_point(graph):
    before = None
    while graph is not before:
        before, graph = graph, patterns(graph)
    return graph


@pytest.mark.parametrize(("written", "op"), WRITTEN.values(), ids=WRITTEN)
def test_is_recognised(written, op, rng):
    net = Writer(rng)
    written(net, net.node("neg", net.node("mul", "x", net.weights(4, 1, 1))))
    assert ops(check(net.graph(), fixed_point)) == {"mul": 1, "neg": 1, op: 1}


@pytest.mark.parametrize(("written", "op"), WRITTEN.values(), ids=WRITTEN)
def test_is_recognised_with_constants_in_float32(written, op, rng):
    """As exporters write them; the activation is computed with the numbers that were meant."""
    net = Writer(rng, "float32")
    written(net, "x")
    assert ops(check(net.graph(), fixed_point, tolerance=1e-6)) == {op: 1}


@pytest.mark.parametrize(("written", "op"), WRITTEN.values(), ids=WRITTEN)
def test_is_recognised_of_a_product(written, op, rng):
    """x = a * b must not be taken apart together with the pattern."""
    net = Writer(rng)
    written(net, net.node("mul", "x", net.node("tanh", "x")))
    assert ops(check(net.graph(), fixed_point)) == {"tanh": 1, "mul": 1, op: 1}


OTHERS = {
    "clip_-1_6": lambda w: w.node("clip", "x", min=-1.0, max=6.0),
    "clip_0_5": lambda w: w.node("clip", "x", min=0.0, max=5.0),
    "clips_that_exclude_each_other": lambda w: w.node("clip", w.node("clip", "x", min=1.0, max=2.0), max=0.5),
    "maximum_with_more_axes": lambda w: w.node("maximum", "x", w.constant(np.zeros((1, 1, 1, 1, 1)))),
    "sigmoid_of_another": lambda w: w.node("mul", "x", w.node("sigmoid", w.node("neg", "x"))),
    "three_times": lambda w: w.node("mul", "x", w.of("mul", w.node("sigmoid", "x"), 3)),
    "silu_twice_x": lambda w: w.node("mul", w.node("mul", "x", "x"), w.node("sigmoid", "x")),
    "other_slope": lambda w: w.node("mul", "x", w.node("hardsigmoid", "x", alpha=0.2)),
    "relu6_of_x_plus_2": lambda w: w.of("div", w.node("mul", "x", w.node("relu6", w.of("add", "x", 2))), 6),
    "divided_by_5": lambda w: w.of("div", w.node("mul", "x", w.node("relu6", w.of("add", "x", 3))), 5),
    "erf_of_x": lambda w: w.node("mul", w.of("mul", "x", 0.5), w.of("add", w.node("erf", "x"), 1)),
    "erf_plus_2": lambda w: w.node("mul", w.of("mul", "x", 0.5), w.of("add", w.node("erf", w.of("mul", "x", ROOT)), 2)),
    "no_half": lambda w: w.node("mul", "x", w.erf_gate("x")),
    "gate_of_more_axes": lambda w: w.node("mul", w.node("mul", "x", w.constant([[[[[0.5]]]]])), w.erf_gate("x")),
    "tanh_of_x": lambda w: w.node("mul", w.of("mul", "x", 0.5), w.tanh_gate(w.of("mul", "x", TANH))),
    "other_cubic": lambda w: w.node(
        "mul",
        w.of("mul", "x", 0.5),
        w.tanh_gate(w.of("mul", w.node("add", "x", w.of("mul", w.of("pow", "x", 3), 0.05)), TANH)),
    ),
    "prelu": lambda w: w.node("prelu", "x", w.weights(4, 1, 1)),
    "celu_of_2": lambda w: w.node("celu", "x", alpha=2.0),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_is_not_mistaken(other, rng):
    net = Writer(rng)
    other(net)
    assert_untouched(net.graph(), patterns)


def test_what_lies_between_stays_for_others(rng):
    net = Writer(rng)
    gate = net.node("sigmoid", "x")
    y = net.node("mul", "x", gate)
    after = check(net.graph(y, net.node("neg", gate)), patterns)
    assert ops(after) == {"sigmoid": 1, "silu": 1, "neg": 1}


def test_a_clamp_that_others_need_is_not_merged(rng):
    """Its convolution will take it; the second clamp of the same would be work twice."""
    net = Writer(rng)
    y = net.node("relu", "x")
    assert_untouched(net.graph(net.node("clip", y, max=1.0), net.node("tanh", y)), patterns)


def test_integers_are_clamped_as_integers(rng):
    net = Net(rng, "int64", k=(3,))
    net.node("clip", "k", min=0)
    assert_untouched(net.graph(), patterns)
