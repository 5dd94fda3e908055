"""`.neocog` files that hold anything at all: a graph that is whole, or a FileError, in bounded memory."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from file_cases import container, good_file, graph_of, refused, replace, with_graph
from neocog.engine import file
from neocog.engine.graph import Graph


@pytest.fixture
def good(tmp_path):
    return good_file(tmp_path)


# Memory


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [' + "[]," * 10**5 + "[]]}",
        '{"a": [' + "{}," * 10**5 + "{}]}",
        '{"a": [' + '"",' * 10**5 + '""]}',
        '{"a": [' + '"ab",' * 10**5 + '""]}',
        '{"a": [' + "1000," * 10**5 + "1]}",
        '{"a": [' + "1.5," * 10**5 + "1]}",
        '{"a": "' + "\\\\" * 10**5 + '"}',
        '{"a": "' + '\\"' * 10**5 + '"}',
        "{" + ",".join(f'"{i}":0' for i in range(50_000)) + "}",
    ],
    ids=["lists", "objects", "empty_strings", "strings", "integers", "floats", "backslashes", "quotes", "keys"],
)
def test_memory_is_bounded_by_the_size_of_the_file(tmp_path, text):
    path = tmp_path / "a.neocog"
    raw = container(text)
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(file.FileError):
            file.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(raw)


def test_a_length_that_the_file_only_claims_allocates_nothing(tmp_path):
    path = tmp_path / "a.neocog"
    path.write_bytes(struct.pack("<Q", file.MAX_HEADER) + b"{}")
    huge = {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}
    tracemalloc.start()
    try:
        refused(tmp_path / "a.neocog", path.read_bytes())
        refused(tmp_path / "a.neocog", container({"__metadata__": {"neocog.graph": "{}"}, "w": huge}))
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


# Anything at all


def load_or_refuse(path, raw):
    """Loads a file that may hold anything; True where there is a graph, which then is whole."""
    path.write_bytes(raw)
    try:
        graph = file.load(path)
    except file.FileError:
        return False
    assert isinstance(graph, Graph)
    graph.validate()
    sum(array.sum(dtype=np.float64, where=np.isfinite(array)) for array in graph.constants.values())  # all can be read
    return True


def test_a_file_cut_anywhere_is_refused(tmp_path, good):
    raw = container(*good)
    (length,) = struct.unpack("<Q", raw[:8])
    for end in [*range(8 + length + 1), len(raw) - 1]:
        assert not load_or_refuse(tmp_path / "a.neocog", raw[:end]), end


TOKENS = [*b'{}[]",:\\0-e.u\x00\xff', *(t.encode() for t in ("null", "true", "1e9", "NaN", '"x"', "{}", "[]", "\\ud8"))]


def test_random_damage_is_refused_or_harmless(tmp_path, good, rng):
    """Bytes changed, removed, doubled and added in the header, and values changed in its JSON."""
    header, data = good
    raw = container(header, data)
    loaded = refusals = 0
    for turn in range(1500):
        damaged = bytearray(raw)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(0, 8 + len(raw) - len(data)))
            kind = rng.integers(0, 6)
            if kind == 0:
                damaged[place] ^= 1 << int(rng.integers(0, 8))
            elif kind == 1:
                damaged[place] = int(rng.integers(0, 256))
            elif kind == 2:
                del damaged[place : place + int(rng.integers(1, 9))]
            elif kind == 3:
                damaged[place:place] = damaged[place : place + int(rng.integers(1, 99))]
            else:
                token = TOKENS[int(rng.integers(0, len(TOKENS)))]
                token = bytes([token]) if isinstance(token, int) else token
                damaged[place : place + (len(token) if kind == 4 else 0)] = token
        if turn % 2:  # let the length be right again, so that the header is read
            damaged[:8] = struct.pack("<Q", max(0, len(damaged) - 8 - len(data)))
        if load_or_refuse(tmp_path / "a.neocog", bytes(damaged)):
            loaded += 1
        else:
            refusals += 1
    assert loaded > 10, "some damage is none: spaces, names, weights"
    assert refusals > 100


VALUES = [None, True, 0, -1, 2, 2**31, 2**63 - 1, 2**63, 10**30, 0.5, 1e300, "", "x", "weight", "float32", "F64"]
VALUES += [[], {}, [[]], ["x"], [1, 1], [None], {"float": "nan"}, {"float": "x"}, [[1, 1], [1, 1]], [0, 2**62]]


def places(value, place=()):
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*place, key))


def test_any_value_at_any_place_of_the_json_is_refused_or_harmless(tmp_path, good):
    """Exhaustive, and so no luck is needed to meet a type that nobody thought of."""
    header, data = good
    document = graph_of(header)
    tried = loaded = 0
    for place in places(header):
        if place and place != ("__metadata__", "neocog.graph"):
            for value in VALUES:
                raw = container(replace(header, place, value), data)
                loaded += load_or_refuse(tmp_path / "a.neocog", raw)
                tried += 1
    for place in places(document):
        for value in VALUES:
            changed = replace(document, place, value) if place else value
            loaded += load_or_refuse(tmp_path / "a.neocog", container(with_graph(header, changed), data))
            tried += 1
    assert tried > 1000
    assert 10 < loaded < tried / 2
