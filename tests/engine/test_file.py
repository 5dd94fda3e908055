"""`.neocog` files: a graph against itself after a round trip, and against the safetensors package.

How files are written is in test_file_saving.py, what is wrong with some in test_file_damage.py.
"""

from __future__ import annotations

import copy
import json
import math
import mmap
import os
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from file_cases import assert_same, holding, parts, small_net, there_and_back
from neocog import _core
from neocog.engine import file, file_graph
from neocog.engine.graph import Graph, Input, Node

DTYPES = [
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
]


class Subclass(np.ndarray):
    """Not an array that the engine should meet again."""


def mapping_of(array):
    """The mmap at the end of an array's chain of bases, or None."""
    while isinstance(array, np.ndarray):
        array = array.base
    owner = array.obj if isinstance(array, memoryview) else array
    return owner if isinstance(owner, mmap.mmap) else None


# Round trips


def test_a_network_comes_back_as_it_was(tmp_path, rng):
    graph = small_net(rng)
    before = copy.deepcopy(graph)
    loaded = there_and_back(graph, tmp_path / "net.neocog")
    assert_same(before, loaded)
    assert_same(before, graph)  # saving changes nothing


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("clip", {"min": None, "max": 6}),
        ("clip", {"min": -math.inf, "max": math.inf}),
        ("full", {"value": math.nan, "dtype": "float32"}),
        ("full", {"value": 2**63 - 1, "dtype": "int64"}),
        ("full", {"value": -(2**63), "dtype": "int64"}),
        ("full", {"value": -0.0, "dtype": "float64"}),
        ("full", {"value": 5e-324, "dtype": "float64"}),
        ("full", {"value": 0.1 + 0.2, "dtype": "float64"}),
        ("full", {"value": 1.0, "dtype": "float64"}),
        ("full", {"value": 10**16, "dtype": "int64"}),
        ("full", {"value": np.float64(0.1), "dtype": "float64"}),
        ("mean", {"axes": [], "keepdims": True}),
        ("mean", {"axes": None, "keepdims": False}),
        ("transpose", {"permutation": [3, 2, 1, 0]}),
        ("avg_pool", {"kernel": [2], "stride": [2], "padding": [[0, 1]]}),
        ("avg_pool", {"kernel": [2], "stride": [2], "padding": "same_lower"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_attributes_keep_their_type_and_every_bit(tmp_path, op, attributes):
    graph = Graph([Input("x", (1,))], ["y"], [Node(op, ("x",), ("y",), attributes)], {})
    (node,) = there_and_back(graph, tmp_path / "a.neocog").nodes
    assert node.attributes.keys() == attributes.keys()
    for key, value in attributes.items():
        back = node.attributes[key]
        if isinstance(value, float):
            assert type(back) is float
            assert struct.pack("<d", back) == struct.pack("<d", value) or (math.isnan(back) and math.isnan(value))
        else:
            assert type(back) is type(value)
            assert back == value


def test_tuples_become_lists(tmp_path):
    attributes = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (1, 1))}
    graph = Graph([Input("x", (1, 1, 4, 4))], ["y"], [Node("avg_pool", ("x",), ("y",), attributes)], {})
    (node,) = there_and_back(graph, tmp_path / "a.neocog").nodes
    assert node.attributes == {"kernel": [2, 2], "stride": [2, 2], "padding": [[0, 0], [1, 1]]}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (5, 7), (2, 3, 4, 5), (1,) * 32], ids=str)
def test_arrays_of_every_dtype_come_back(tmp_path, rng, dtype, shape):
    array = rng.integers(0, 2**8, (*shape, np.dtype(dtype).itemsize), np.uint8).view(dtype)[..., 0]
    if dtype == "bool":
        array = np.asarray(array.view(np.uint8) > 127)
    loaded = there_and_back(holding({"a": array}), tmp_path / "a.neocog").constants["a"]
    assert (loaded.dtype, loaded.shape) == (np.dtype(dtype), shape)
    assert loaded.tobytes() == array.tobytes()  # also of NaNs


@pytest.mark.parametrize(
    "lay_out",
    [
        lambda a: a.transpose(2, 0, 1),
        lambda a: a[::2, ::-1, 1:],
        lambda a: np.broadcast_to(a[0], a.shape),
        np.asfortranarray,
        lambda a: a.astype(">f4"),
        lambda a: a[1, 2, 3, ...],
        lambda a: a.view(Subclass),
    ],
    ids=["transposed", "strided", "broadcast", "fortran", "big_endian", "0d_view", "subclass"],
)
def test_any_memory_layout_is_stored_dense_and_little_endian(tmp_path, rng, lay_out):
    array = lay_out(rng.standard_normal((4, 5, 6), np.float32))
    loaded = there_and_back(holding({"a": array}), tmp_path / "a.neocog").constants["a"]
    assert type(loaded) is np.ndarray
    assert loaded.dtype == np.float32
    assert loaded.flags.c_contiguous
    np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize(
    "name", ["", "conv1/weight:0", "Gewicht \u00e4\u00f6", '\U0001f9e0\n\x00"\\', "__metadata__", "__metadata___"]
)
def test_any_name_is_kept(tmp_path, name):
    constants = {"__metadata__": np.array(3), "__metadata___": np.array(4)} | {name: np.array([1.0, 2.0])}
    graph = Graph([], [name], [], constants)
    graph.nodes.append(Node("neg", (name,), ("done",), {}, name))
    assert_same(graph, there_and_back(graph, tmp_path / "a.neocog"))


def test_a_loaded_graph_can_be_saved_over_its_own_file(tmp_path, rng):
    path = tmp_path / "a.neocog"
    graph = small_net(rng)
    loaded = there_and_back(graph, path)
    again = there_and_back(loaded, path)
    assert_same(graph, loaded)  # still whole, although its file has gone
    assert_same(graph, again)


def test_metadata_come_back_beside_the_version(tmp_path):
    path = tmp_path / "a.neocog"
    file.save(holding({}), path, metadata={"license": "CC0", "classes": "Hund\nK\u00e4tzchen", "": ""})
    assert file.read_metadata(path) == {
        "license": "CC0",
        "classes": "Hund\nK\u00e4tzchen",
        "": "",
        "neocog.version": _core.__version__,
    }
    file.save(holding({}), path)
    assert file.read_metadata(path) == {"neocog.version": _core.__version__}


# The format


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_safetensors_package_reads_the_weights(tmp_path, rng, dtype):
    safetensors = pytest.importorskip("safetensors")
    from safetensors.numpy import load_file

    constants = {
        "matrix": (rng.standard_normal((3, 5)) > 0).astype(dtype),
        "scalar": np.ones((), dtype),
        "empty": np.ones((0, 4), dtype),
        "\u00e4": np.ones(64, dtype),
    }
    path = tmp_path / "a.neocog"
    file.save(holding(constants), path, metadata={"license": "CC0"})
    read = load_file(path)
    assert read.keys() == constants.keys()
    for name, array in constants.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    with safetensors.safe_open(path, "numpy") as opened:
        assert opened.metadata()["license"] == "CC0"


def test_a_file_that_safetensors_wrote_again_is_loaded(tmp_path, rng):
    """Tools that convert weights keep the metadata, but not the order of the tensors or the alignment of the data."""
    safetensors = pytest.importorskip("safetensors")
    from safetensors.numpy import load_file, save_file

    graph = small_net(rng)
    graph.constants["odd"] = np.int8([1, 2, 3])
    file.save(graph, tmp_path / "a.neocog")
    with safetensors.safe_open(tmp_path / "a.neocog", "numpy") as opened:
        metadata = opened.metadata()
    save_file(load_file(tmp_path / "a.neocog"), tmp_path / "b.neocog", metadata)
    assert_same(graph, file.load(tmp_path / "b.neocog"))


def test_data_begin_at_a_cache_line_and_tensors_at_the_power_of_two_of_their_size(tmp_path, rng):
    sizes = [1, 2, 3, 4, 8, 12, 16, 32, 48, 63, 64, 65, 128, 1000]
    constants = {f"{dtype}{n}": rng.integers(0, 2, n).astype(dtype) for n in sizes for dtype in DTYPES}
    for path in (tmp_path / "a.neocog", tmp_path / f"{'b' * 50}.neocog"):
        file.save(holding(constants), path, metadata={"path": path.name})
        text, data = parts(path)
        assert (8 + len(text.encode())) % 64 == 0
        end = 0
        for name, fields in json.loads(text).items():
            if name != "__metadata__":
                assert fields["data_offsets"][0] == end, "tensors are listed in their order, without gaps"
                end = fields["data_offsets"][1]
                assert fields["data_offsets"][0] % math.gcd(constants[name].nbytes, 64) == 0
        assert end == len(data)


def test_equal_arrays_are_stored_once(tmp_path):
    ones = np.ones((16, 16), np.float32)
    constants = {"b": ones.copy(), "a": ones, "c": ones.T, "other_shape": ones.reshape(-1), "nan": ones * np.nan}
    constants |= {"nan2": ones * np.nan, "zero": ones * 0, "minus_zero": ones * -0.0, "bits": ones.view(np.int32)}
    path = tmp_path / "a.neocog"
    loaded = there_and_back(holding(constants), path)
    assert_same(holding(constants), loaded)
    tensors = json.loads(parts(path)[0]).keys() - {"__metadata__"}
    assert tensors == {"a", "other_shape", "nan", "zero", "minus_zero", "bits"}
    assert np.shares_memory(loaded.constants["a"], loaded.constants["c"])
    assert np.signbit(loaded.constants["minus_zero"]).all()


def test_the_header_is_strict_json_with_the_graph_in_it(tmp_path):
    def refuse(constant):
        raise AssertionError(constant)

    graph = Graph([Input("x", ("N",))], ["y"], [Node("clip", ("x",), ("y",), {"min": math.nan, "max": math.inf})], {})
    path = tmp_path / "a.neocog"
    file.save(graph, path)
    text, data = parts(path)
    assert data == b""
    header = json.loads(text, parse_constant=refuse)
    assert header.keys() == {"__metadata__"}
    assert json.loads(header["__metadata__"]["neocog.graph"], parse_constant=refuse) == {
        "format": "neocog",
        "version": file_graph.VERSION,
        "inputs": [{"name": "x", "shape": ["N"], "dtype": "float32"}],
        "outputs": ["y"],
        "constants": {},
        "nodes": [
            {
                "op": "clip",
                "inputs": ["x"],
                "outputs": ["y"],
                "attributes": {"max": {"float": "inf"}, "min": {"float": "nan"}},
            }
        ],
    }


def test_equal_graphs_make_equal_bytes(tmp_path, rng):
    graph = small_net(rng)
    graph.constants |= {"z": np.float32([1]), "b": np.float32([1]), "q": np.int64([2, 3])}
    turned = copy.deepcopy(graph)
    turned.constants = {k: np.asfortranarray(v) for k, v in reversed(graph.constants.items())}
    for node in turned.nodes:
        node.attributes = dict(reversed(node.attributes.items()))
    file.save(graph, tmp_path / "a", metadata={"x": "1", "y": "2"})
    file.save(turned, tmp_path / "b", metadata={"y": "2", "x": "1"})
    file.save(file.load(tmp_path / "a"), tmp_path / "c", metadata={"x": "1", "y": "2"})
    first = (tmp_path / "a").read_bytes()
    assert (tmp_path / "b").read_bytes() == first
    assert (tmp_path / "c").read_bytes() == first


HASHED = """
import sys
import numpy as np
from neocog.engine import file
from neocog.engine.graph import Graph
constants = {f"w{i}": np.full(i, i, np.float32) for i in range(50)}
file.save(Graph([], ["w1", "w2"], [], constants), sys.argv[1], metadata={"a": "1", "b": "2"})
"""


def test_bytes_do_not_depend_on_the_seed_of_pythons_hashes(tmp_path):
    made = []
    for seed in "12":
        path = tmp_path / seed
        subprocess.run([sys.executable, "-c", HASHED, path], env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
        made.append(path.read_bytes())
    assert made[0] == made[1]


# Memory


def test_constants_are_read_only_views_into_one_mapping(tmp_path, rng):
    constants = {"a": rng.standard_normal((8, 8)), "b": np.array(1.0), "c": np.arange(5, dtype=np.int8)}
    loaded = there_and_back(holding(constants), tmp_path / "a.neocog").constants
    mappings = {id(mapping_of(array)) for array in loaded.values()}
    assert mappings == {id(mapping_of(loaded["a"]))}
    assert mapping_of(loaded["a"]) is not None
    whole = np.frombuffer(mapping_of(loaded["a"]), np.uint8)
    for name, array in loaded.items():
        assert np.shares_memory(whole, array), name
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


def test_the_mapping_lives_as_long_as_a_constant(tmp_path, rng):
    path = tmp_path / "a.neocog"
    weight = rng.standard_normal((100, 100))
    constants = there_and_back(holding({"a": weight, "b": weight + 1}), path).constants
    kept = constants.pop("a")[10:20]
    del constants
    path.unlink()
    np.testing.assert_array_equal(kept, weight[10:20])


def test_loading_copies_no_weights_and_saving_one_array_at_most(tmp_path):
    array = np.zeros((64, 256, 256), np.float32)
    strided = np.lib.stride_tricks.as_strided(array, array.shape, (0, *array.strides[:0:-1]))
    path = tmp_path / "a.neocog"
    tracemalloc.start()
    try:
        file.save(holding({"a": array, "b": array[:50]}), path)
        dense = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        file.save(holding({"a": strided, "b": array[:50]}), path)
        copied = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        loaded = file.load(path)
        read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert dense < 1e6
    assert copied < array.nbytes + 1e6
    assert read < 1e6
    assert loaded.constants["a"].nbytes == array.nbytes
