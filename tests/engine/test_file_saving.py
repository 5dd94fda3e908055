"""How `.neocog` files are written: whole or not at all, where they were asked for, and what is refused before."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from file_cases import assert_same, holding, small_net
from neocog.engine import file
from neocog.engine.graph import Graph, GraphError, Input, Node


@pytest.mark.parametrize("failing", ["write", "replace", "interrupt"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, rng, monkeypatch, failing):
    path = tmp_path / "a.neocog"
    graph = small_net(rng)
    file.save(graph, path)
    before = path.read_bytes()

    def fail(*args):
        raise KeyboardInterrupt if failing == "interrupt" else OSError(28, "No space left on device")

    if failing == "replace":
        monkeypatch.setattr(os, "replace", fail)
    else:
        whole = file._bytes
        # Arrays are read twice, to find equal ones and to write them: this fails half way through the writing.
        calls = iter([whole, whole, whole, fail])
        monkeypatch.setattr(file, "_bytes", lambda array: next(calls)(array))
    graph.constants["more"] = np.ones(10)
    with pytest.raises(KeyboardInterrupt if failing == "interrupt" else OSError):
        file.save(graph, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.neocog"]


def test_a_new_file_is_not_there_before_it_is_whole(tmp_path, rng, monkeypatch):
    path = tmp_path / "a.neocog"
    seen = []
    replace = os.replace

    def watched(source, target):
        seen.append((path.exists(), Path(source).parent, file.load(source).outputs))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    file.save(small_net(rng), path)
    assert seen == [(False, tmp_path, ["y", "p"])]
    assert os.listdir(tmp_path) == ["a.neocog"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_are_those_of_a_new_file_or_of_the_old_one(tmp_path):
    (tmp_path / "plain").touch()
    file.save(holding({}), tmp_path / "new")
    assert os.stat(tmp_path / "new").st_mode == os.stat(tmp_path / "plain").st_mode
    os.chmod(tmp_path / "new", 0o600)
    file.save(holding({}), tmp_path / "new")
    assert stat.S_IMODE(os.stat(tmp_path / "new").st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_a_link_stays_a_link(tmp_path, rng):
    folder = tmp_path / "store"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder / "real")
    graph = small_net(rng)
    file.save(graph, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert os.listdir(folder) == ["real"]
    assert_same(graph, file.load(tmp_path / "link"))


def test_places_that_are_no_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="which is no regular file; give the path of a file"):
        file.save(holding({}), tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no such folder; make it first"):
        file.save(holding({}), tmp_path / "no" / "a.neocog")
    if os.path.exists("/dev/null"):
        with pytest.raises(ValueError, match="no regular file"):
            file.save(holding({}), "/dev/null")


def one_node(**attributes):
    return Graph([Input("x", (1,))], ["y"], [Node("clip", ("x",), ("y",), attributes, "act")], {})


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (Graph([], ["nowhere"], [], {}), "output 'nowhere' is made by no node"),
        (one_node(min=2**63), r"node 0 \(act\): `min` is 9223372036854775808; an integer must fit into 64 bits"),
        (Graph([Input("x", (-1,))], ["x"], [], {}), r"input 0 \(x\) has the size -1; it must be a name"),
        (Graph([Input("x", ("",))], ["x"], [], {}), r"input 0 \(x\) has the size ''"),
        (Graph([Input("x", (1,), "bfloat16")], ["x"], [], {}), "dtype 'bfloat16'; it must be one of bool, "),
        (holding({"c": np.zeros(2, np.complex64)}), "constant 'c' has the dtype complex64; a file holds bool, uint8"),
        (holding({"c": np.array(["a"])}), "constant 'c' has the dtype <U1"),
        (holding({"c": np.array([{}], object)}), "constant 'c' has the dtype object"),
        (holding({"c": np.zeros(2, "f4,f4")}), "constant 'c' has the dtype"),
        (holding({"\ud800": np.zeros(2)}), "no Unicode text: it has half of a surrogate pair"),
        (
            Graph([Input("x", (1,))], ["y"], [Node("full", ("x",), ("y",))], {}),
            r"node 0 \(y\) lacks the attribute `value`",
        ),
    ],
    ids=[
        *("not_validated", "integer", "size", "empty_size", "input_dtype", "complex", "text", "object", "record"),
        *("surrogate", "operator"),
    ],
)
def test_a_graph_that_no_file_can_hold_is_refused(tmp_path, graph, message):
    with pytest.raises(GraphError, match=message):
        file.save(graph, tmp_path / "a.neocog")
    assert os.listdir(tmp_path) == []


def test_a_graph_too_large_for_the_header_is_refused(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(file, "MAX_HEADER", 500)
    with pytest.raises(GraphError, match=r"takes \d+ bytes without its weights; the most is 500"):
        file.save(small_net(rng), tmp_path / "a.neocog")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        ({"epochs": 3}, TypeError, "`metadata` has 'epochs': 3; both must be strings"),
        ({3: "epochs"}, TypeError, "`metadata` has 3: 'epochs'"),
        ({"neocog.graph": "{}"}, ValueError, "`metadata` has the key 'neocog.graph'; those with 'neocog.' are the"),
    ],
)
def test_wrong_metadata_are_refused(tmp_path, metadata, error, message):
    with pytest.raises(error, match=message):
        file.save(holding({}), tmp_path / "a.neocog", metadata=metadata)
    assert os.listdir(tmp_path) == []
