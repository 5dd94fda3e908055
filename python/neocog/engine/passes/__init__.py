"""Rewrites of a graph into one that computes the same in fewer, larger steps; README.md says in which order and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle

from neocog.engine.graph import Graph
from neocog.engine.passes.activations import activations
from neocog.engine.passes.batch_norms import batch_norms
from neocog.engine.passes.constants import constants
from neocog.engine.passes.crops import crops
from neocog.engine.passes.dead_code import dead_code
from neocog.engine.passes.editing import shared_shapes
from neocog.engine.passes.global_pools import global_pools
from neocog.engine.passes.identities import identities
from neocog.engine.passes.linears import linears
from neocog.engine.passes.paddings import paddings
from neocog.engine.passes.patterns import patterns
from neocog.engine.passes.precisions import precisions
from neocog.engine.passes.prologues import prologues
from neocog.engine.passes.residuals import residuals
from neocog.engine.passes.separables import separables

__all__ = ["gains_from_sizes", "optimise", "precisions", "specialise"]

# Each makes work for the others: a folded constant completes a pattern, a merged reshape leaves a batch norm next to
# its convolution. What is dead goes first: as a user of values it would stand in the way of all others.
_REPEATED = (dead_code, constants, identities, patterns, linears, global_pools, paddings, crops, batch_norms)
# These take from the former what they look for: convolutions without activations and with known weights. An activation
# after an addition goes where the addition went.
_ONCE = (residuals, separables, activations, prologues, dead_code)


def gains_from_sizes(graph: Graph) -> bool:
    """Whether paddings or crops depend on the sizes of inputs: when these are known, windows can take them."""
    return any(
        node.op in ("pad", "slice") and any(name not in graph.constants for name in list(node.used())[1:])
        for node in graph.nodes
    )


def specialise(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> Graph:
    """The graph, which is valid, for floating-point inputs of these shapes alone."""
    known = iter(shapes)
    inputs = [replace(i, shape=next(known)) if i.dtype == "float32" else i for i in graph.inputs]
    return _rewritten(Graph(inputs, graph.outputs, graph.nodes, graph.constants))


def optimise(graph: Graph) -> Graph:
    """The graph that a plan is made from: folded, fused, and without what no result needs.

    It serves the same sizes, takes the same inputs and gives the same results in the same order; a result that is an
    input, or that another result equals, goes by the name of that one. Weights that are not folded are shared with
    `graph`, which stays as it is.

    Raises:
        GraphError: The graph is not valid, or constants in it do not fit their operators.
    """
    graph.validate()
    return _rewritten(graph)


def _rewritten(graph: Graph) -> Graph:
    """The same of a graph that is valid."""
    with shared_shapes():
        done = 0  # passes in a row that found nothing
        for repeated in cycle(_REPEATED):
            before, graph = graph, repeated(graph)
            done = done + 1 if graph is before else 0
            if done == len(_REPEATED):
                break
        for once in _ONCE:
            graph = once(graph)
    graph.validate()
    return graph
