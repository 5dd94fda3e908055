"""What the tests of `.neocog` files share: small graphs, and a look at the bytes."""

from __future__ import annotations

import copy
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from neocog.engine import file
from neocog.engine.graph import Graph, Input, Node


def small_net(rng):
    """A network with an optional input that is absent, a result that nobody wants, and a size known when it runs."""
    window = {"stride": [1, 1], "padding": [[1, 1], [1, 1]], "dilation": [1, 1]}
    return Graph(
        inputs=[Input("x", ("N", 3, 8, 8)), Input("shape", (2,), "int64")],
        outputs=["y", "p"],
        nodes=[
            Node("conv", ("x", "weight", None, "x"), ("a",), {**window, "activation": "relu"}, "stem.conv"),
            Node("max_pool", ("a",), ("p", None), {"kernel": [2, 2], **window | {"stride": [2, 2]}}),
            Node("reshape", ("p", "shape"), ("y",), {}),
        ],
        constants={"weight": rng.standard_normal((3, 3, 3, 3), np.float32)},
    )


def holding(constants):
    return Graph([], list(constants), [], constants)


def assert_same(a, b):
    assert (a.inputs, a.outputs, a.nodes) == (b.inputs, b.outputs, b.nodes)
    assert a.constants.keys() == b.constants.keys()
    for name, array in a.constants.items():
        assert b.constants[name].shape == array.shape, name
        assert b.constants[name].dtype == array.dtype.newbyteorder("<"), name
        np.testing.assert_array_equal(b.constants[name], array, err_msg=name)


def there_and_back(graph, path, **kwargs):
    file.save(graph, path, **kwargs)
    return file.load(path)


def parts(path):
    """The header as text, and the data."""
    raw = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return raw[8 : 8 + length].decode(), raw[8 + length :]


def good_file(tmp_path):
    """The header of a file, parsed, and its data; the graph has a convolution and two constants."""
    graph = small_net(np.random.default_rng(0))
    graph.constants["number"] = np.int64([1, 2])
    file.save(graph, tmp_path / "good.neocog")
    text, data = parts(tmp_path / "good.neocog")
    header = json.loads(text)
    assert list(header) == ["__metadata__", "number", "weight"]  # the tests count on it
    assert (len(data), header["weight"]["data_offsets"]) == (16 + 324, [16, 340])
    return header, data


def container(header, data=b""):
    """A file of this header, an object or a text, padded as `save` pads it."""
    text = header if isinstance(header, (str, bytes)) else json.dumps(header, allow_nan=True)
    raw = text if isinstance(text, bytes) else text.encode()
    raw += b" " * (-(8 + len(raw)) % 64)
    return struct.pack("<Q", len(raw)) + raw + data


def with_graph(header, document):
    """The header with another graph, an object or a text."""
    header = copy.deepcopy(header)
    header["__metadata__"]["neocog.graph"] = document if isinstance(document, str) else json.dumps(document)
    return header


def graph_of(header):
    return json.loads(header["__metadata__"]["neocog.graph"])


def replace(document, place, value):
    """The document with `value` at a path of keys; ... removes what is there."""
    document = copy.deepcopy(document)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return document


def refused(path, raw):
    """The message that a file is refused with, which names the file and ends with a repair."""
    path.write_bytes(raw)
    with pytest.raises(file.FileError) as caught:
        file.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message) < 700
    assert "; " in message
    return message.removeprefix(f"{path}: ")
