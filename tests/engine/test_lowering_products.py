"""How products and normalisations become steps: compiled graphs of one operator against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from laid_out_runs import check_run, methods
from neocog._activations import ACTIVATIONS
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, Input, Node

IMAGE = (2, 6, 5, 4)


def rows(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kept", [True, False], ids=["constant", "computed"])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), IMAGE], ids=str)
def test_linear(shape, kept, rng):
    weight, bias = rows(rng, 7, 4), rows(rng, 7)
    given = (weight, bias) if kept else ("weight", "bias")
    inputs = None if kept else {"weight": weight, "bias": bias}
    check_run("linear", shape, *given, rng=rng, inputs=inputs, bound=1e-5)
    check_run("linear", shape, given[0], rng=rng, inputs=None if kept else {"weight": weight}, bound=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_applies_its_activation(activation, rng):
    for count in (3, 40):
        check_run(
            "linear", (count, 6), rows(rng, 9, 6), rows(rng, 9),
            rng=rng, layouts=("rows",), bound=1e-5, activation=activation, alpha=0.3,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((4, 5), (5, 6)),
        ((5,), (5,)),
        ((5,), (5, 6)),
        ((4, 5), (5,)),
        ((3, 4, 5), (5, 6)),
        ((3, 4, 5), (5,)),
        ((5,), (3, 5, 6)),
        ((3, 4, 5), (3, 5, 6)),
        ((2, 1, 4, 5), (3, 5, 6)),
        ((3, 0, 5), (5, 6)),
    ],
    ids=str,
)
def test_matmul(a, b, rng):
    layouts = ("rows",) if 0 in a else ("rows", "channels_last", "turned", "reversed", "every_second", "expanded")
    check_run("matmul", a, "b", rng=rng, layouts=layouts, inputs={"b": rows(rng, *b)}, bound=1e-5)
    if 0 not in a:
        check_run("matmul", a, rows(rng, *b), rng=rng, layouts=layouts, bound=1e-5)


def test_attention_copies_nothing_but_its_result(rng):
    """Heads are views of the projections, and keys are read by columns."""
    heads = {"permutation": [0, 2, 1, 3]}
    nodes = []
    for name in "qkv":
        nodes += [
            Node("linear", ("x", f"w{name}"), (f"{name}0",)),
            Node("reshape", (f"{name}0", "split"), (f"{name}1",)),
            Node("transpose", (f"{name}1",), (name,), heads),
        ]
    nodes += [
        Node("transpose", ("k",), ("kt",), {"permutation": [0, 1, 3, 2]}),
        Node("matmul", ("q", "kt"), ("scores",)),
        Node("softmax", ("scores",), ("p",), {"axis": -1}),
        Node("matmul", ("p", "v"), ("heads",)),
        Node("transpose", ("heads",), ("joined",), heads),
        Node("reshape", ("joined", "join"), ("y",)),
    ]
    weights = {f"w{name}": rows(rng, 12, 12) for name in "qkv"}
    shapes = {"split": np.array([0, 0, 3, 4]), "join": np.array([0, 0, 12])}
    graph = Graph([Input("x", ("N", "T", 12))], ["y"], nodes, {**weights, **shapes})
    model, x = CompiledModel(graph), rows(rng, 2, 9, 12)
    q, k, v = ((x @ weights[f"w{name}"].T).reshape(2, 9, 3, 4).transpose(0, 2, 1, 3) for name in "qkv")
    scores = q @ k.transpose(0, 1, 3, 2)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    expected = (p / p.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(2, 9, 12)
    np.testing.assert_allclose(model(x), expected, atol=1e-4)
    assert methods(model) == ["linear"] * 3 + ["matmul", "softmax", "matmul", "copy"]


@pytest.mark.parametrize("activation", [None, "relu", "elu"])
@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 7), IMAGE, (2, 6, 2, 3, 4)], ids=str)
def test_batch_norm(shape, activation, rng):
    values = [(rng.random(6) + 0.5).astype(np.float32) for _ in range(4)]
    check_run("batch_norm", shape, *values, rng=rng, bound=1e-5, eps=1e-3, activation=activation, alpha=0.7)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(2, 6, 7), IMAGE], ids=str)
def test_group_and_instance_norm(shape, affine, rng):
    layouts = ("rows", "channels_last", "turned", "every_second")
    values = (rows(rng, 6), rows(rng, 6)) if affine else ()
    for groups in (1, 2, 6):
        check_run("group_norm", shape, *values, rng=rng, layouts=layouts, bound=1e-4, groups=groups)
    check_run("instance_norm", shape, *values, rng=rng, layouts=layouts, bound=1e-4)


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_layer_norm(axis, rng):
    tail = IMAGE[axis % 4 :]
    layouts = ("rows", "channels_last", "turned", "every_second")
    check_run("layer_norm", IMAGE, rng=rng, layouts=layouts, bound=1e-4, axis=axis)
    check_run("layer_norm", IMAGE, rows(rng, *tail), rng=rng, layouts=layouts, bound=1e-4, axis=axis)
    check_run("layer_norm", IMAGE, None, rows(rng, *tail), rng=rng, layouts=layouts, bound=1e-4, axis=axis)


@pytest.mark.parametrize("size", [1, 3, 4, 20])
def test_lrn(size, rng):
    check_run("lrn", IMAGE, rng=rng, bound=1e-5, size=size, alpha=0.2, beta=0.75, bias=1.0)
