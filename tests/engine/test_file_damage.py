"""`.neocog` files that are damaged, cut off or made to harm: each is a FileError with its repair, and nothing else."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from file_cases import container, good_file, graph_of, holding, refused, replace, with_graph
from neocog.engine import file, file_graph, file_json

COPY_AGAIN = "copy it again, or save the model again"
CONVERT = r"is it another kind of file\? `neocog convert` makes a .neocog file from an ONNX file"


@pytest.fixture
def good(tmp_path):
    return good_file(tmp_path)


def test_the_cases_begin_with_a_good_file(tmp_path, good):
    path = tmp_path / "a.neocog"
    path.write_bytes(container(*good))
    assert file.load(path).outputs == ["y", "p"]


# The container

LONG = 2**25


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "it has 0 bytes, and the length of the header alone has 8"),
        (b"\x02\0\0\0\0\0\0", "it has 7 bytes"),
        (struct.pack("<Q", 100) + b"{}", "it ends after 10 bytes, and its header after 108"),
        (
            struct.pack("<Q", 2**64 - 1) + b"{}",
            f"its header would have {2**64 - 1} bytes, where {LONG} is the most; is it",
        ),
        (struct.pack("<Q", LONG + 1) + b"{}", f"its header would have {LONG + 1} bytes"),
        (
            b"\x08\x07\x12\x07pytorch" * 9,
            f"its header would have .*; {CONVERT}; else the file is damaged: {COPY_AGAIN}",
        ),
        (struct.pack("<Q", 0), f"its header does not begin with '{{'; {CONVERT}"),
        (container(" {}"), "its header does not begin with '{'"),
        (container("[]"), "its header does not begin with '{'"),
        (container("\ufeff{}"), "its header does not begin with '{'"),
        (container("{}".encode("utf-16-le")), "its header is not JSON: Expecting property name"),
        (container("{"), "its header is not JSON: Expecting property name"),
        (container("{} {}"), "its header is not JSON: Extra data"),
        (container('{"a": "\n"}'), "its header is not JSON: Invalid control character"),
        (container(b'{"\xff": 1}'), r"its header is not UTF-8 \(invalid start byte at byte 10\)"),
        (container(b'{"\xed\xa0\x80": 1}'), "its header is not UTF-8"),
        (container('{"\\ud800": 1}'), "its header holds half of a surrogate pair, which is no Unicode text"),
        (container('{"a": 1, "a": 1}'), "its header has the key 'a' twice"),
        (container('{"a": {"b": [{"c": 1, "d": 2, "c": 3}]}}'), "its header has the key 'c' twice"),
        (container('{"a": NaN}'), "its header holds NaN, which JSON has not"),
        (container('{"a": -Infinity}'), "its header holds -Infinity, which JSON has not"),
        (container('{"a": 1e999}'), "its header holds the number 1e999, which is beyond float64"),
        (container('{"a": 1' + "0" * 10**6 + "}"), "its header holds an integer of 1000001 digits"),
        (container('{"a": ' + "[" * 65 + "]" * 65 + "}"), "its header is nested 66 deep, where 64 is the most"),
        (container('{"a": ' + '{"a":' * 10**6), "its header is nested 1000001 deep"),
        (container('{"a": ' + "[" * 2**24), "its header is nested 16777217 deep"),
        (
            container("{}"),
            "it holds tensors but no graph .*; load it with the safetensors package, or make a .neocog file",
        ),
        (container({"__metadata__": []}), "its '__metadata__' is not an object of strings"),
        (container({"__metadata__": None}), "its '__metadata__' is not an object of strings"),
        (container({"__metadata__": {"neocog.graph": {}}}), "its '__metadata__' is not an object of strings"),
        (container({"__metadata__": {"neocog.graph": "{"}}), "its graph is not JSON: Expecting property name"),
        (container({"__metadata__": {"neocog.graph": "\ud800"}}), "its header holds half of a surrogate pair"),
        (container({"__metadata__": {"neocog.graph": '"\\ud800"'}}), "its graph holds half of a surrogate pair"),
        (container({"__metadata__": {"neocog.graph": "[" * 10**6}}), "its graph is nested 1000000 deep"),
    ],
    ids=[
        *("empty", "shorter_than_its_first_field", "cut_off", "largest_length", "length_above_the_limit", "onnx"),
        *(
            "no_header",
            "space_first",
            "list",
            "byte_order_mark",
            "utf16",
            "cut_json",
            "two_values",
            "control_character",
        ),
        *("not_utf8", "utf8_surrogate", "escaped_surrogate", "key_twice", "inner_key_twice", "nan", "infinity"),
        *("float_overflow", "long_integer", "deep", "deep_objects", "deepest", "no_metadata", "metadata_list"),
        *("metadata_null", "graph_not_text", "graph_cut", "surrogate", "graph_surrogate", "graph_deep"),
    ],
)
def test_containers(tmp_path, raw, message):
    assert_matches(message, refused(tmp_path / "a.neocog", raw))


def assert_matches(pattern, text):
    with pytest.raises(ValueError, match=pattern):  # pytest's own words for a mismatch
        raise ValueError(text)


def test_brackets_in_strings_are_not_nesting(tmp_path):
    name = '[{"\\' * 100 + "\\\\\\" + '"]' * 50
    file.save(holding({name: np.zeros(3)}), tmp_path / "a.neocog")
    assert file.load(tmp_path / "a.neocog").outputs == [name]


def test_a_deep_file_does_not_end_a_process_that_recurses_deeply(tmp_path):
    """With such a limit the parser of the standard library overflows the stack of C."""
    path = tmp_path / "a.neocog"
    path.write_bytes(container('{"a": ' + "[" * 10**7))
    script = (
        "import sys; from neocog.engine import file; sys.setrecursionlimit(10**8)\n"
        "try: file.load(sys.argv[1])\nexcept file.FileError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


# Tensors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "the tensor 'weight' is None; it must have dtype, shape and data_offsets, and nothing else"),
        ({"dtype": ...}, "the tensor 'weight' is {.*}; it must have dtype, shape and data_offsets"),
        ({"extra": 1}, "the tensor 'weight' is {.*}; it must have dtype, shape and data_offsets"),
        (
            {"dtype": "BF16"},
            "the tensor 'weight' has the dtype 'BF16'; it must be one of BOOL, U8, .*; save the model again",
        ),
        ({"dtype": ["F32"]}, r"the tensor 'weight' has the dtype \['F32'\]"),
        ({"dtype": "F64"}, "needs 648 bytes, and has 324"),
        ({"shape": 81}, "the tensor 'weight' has the shape 81; it must be a list of integers"),
        ({"shape": [81.0]}, r"the shape \[81.0\]; it must be a list of integers"),
        ({"shape": [True, 81]}, r"the shape \[True, 81\]"),
        ({"shape": [-9, -9]}, r"the shape \[-9, -9\]"),
        ({"shape": [2**63]}, r"the shape \[9223372036854775808\]"),
        ({"shape": [2**62, 4]}, r"has the shape \[4611686018427387904, 4\], which is too large"),
        ({"shape": [2**32, 2**32, 81]}, "which is too large"),
        ({"shape": [0, 2**62, 2**62]}, "which is too large"),
        ({"shape": [2**40]}, "needs 4398046511104 bytes, and has 324"),
        ({"shape": [80]}, "needs 320 bytes, and has 324"),
        ({"shape": [81] + [1] * 32}, "the tensor 'weight' has 33 axes; the most is 32"),
        ({"shape": [1] * 10**5}, "the tensor 'weight' has 100000 axes; the most is 32"),
        ({"data_offsets": None}, "data_offsets None; they must be two integers from 0 to 340, in order"),
        ({"data_offsets": [16]}, r"data_offsets \[16\]"),
        ({"data_offsets": [16, 340, 340]}, r"data_offsets \[16, 340, 340\]"),
        ({"data_offsets": [16.0, 340]}, r"data_offsets \[16.0, 340\]"),
        ({"data_offsets": [-308, 16]}, r"data_offsets \[-308, 16\]"),
        ({"data_offsets": [340, 16]}, r"data_offsets \[340, 16\]"),
        ({"data_offsets": [16, 341]}, r"data_offsets \[16, 341\]"),
        ({"data_offsets": [2**64 - 324, 2**64]}, "data_offsets"),
        ({"data_offsets": [8, 332]}, "the tensor 'weight' at bytes 8 to 332 of the data overlaps the one before it"),
        ({"data_offsets": [0, 324]}, "the tensor 'weight' at bytes 0 to 324 of the data overlaps|'number' .* overlaps"),
        ({"data_offsets": [16, 336], "shape": [80]}, "its tensors take 336 bytes, and 340 follow the header"),
        (
            {"data_offsets": [20, 340], "shape": [80]},
            "the tensor 'weight' at bytes 20 to 340 of the data follows a gap",
        ),
    ],
    ids=[
        *("null", "no_dtype", "unknown_field", "unknown_dtype", "dtype_list", "wider_dtype", "shape_integer"),
        *("shape_float", "shape_bool", "negative_shape", "size_of_64_bits", "product_of_64_bits", "product_that_wraps"),
        *("zero_times_too_much", "larger_than_the_file", "smaller", "axes", "many_axes", "offsets_null", "one_offset"),
        *("three_offsets", "offset_float", "negative_offset", "offsets_swapped", "beyond_the_end", "offset_that_wraps"),
        *("overlap", "overlap_at_the_start", "bytes_left_over", "gap"),
    ],
)
def test_tensors(tmp_path, good, change, message):
    header, data = good
    if change is None:
        header["weight"] = None
    else:
        header["weight"] = {k: v for k, v in {**header["weight"], **change}.items() if v is not ...}
    assert_matches(message, refused(tmp_path / "a.neocog", container(header, data)))


def test_misaligned_data_are_refused(tmp_path, good):
    header, data = good
    header["number"], header["weight"] = header["number"], header["weight"]
    text = json.dumps(header).encode()
    text += b" " * (4 - len(text) % 8 + 8)  # int64 begin at a multiple of 4
    message = refused(tmp_path / "a.neocog", struct.pack("<Q", len(text)) + text + data)
    assert_matches(r"the tensor 'number' begins at byte \d+, which is no multiple of 8", message)


def test_bools_are_0_or_1(tmp_path):
    path = tmp_path / "a.neocog"
    file.save(holding({"mask": np.array([True, False, True])}), path)
    raw = path.read_bytes()
    assert_matches("the tensor 'mask' has a bool that is neither 0 nor 1", refused(path, raw[:-1] + b"\x02"))


def test_tensors_that_the_graph_does_not_know_are_refused(tmp_path, good):
    header, data = good
    header["more"] = {"dtype": "F32", "shape": [0], "data_offsets": [340, 340]}
    assert_matches("the tensor 'more' belongs to no constant", refused(tmp_path / "a", container(header, data)))


# The graph


ATTRIBUTES = ("nodes", 0, "attributes")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("format",), "onnx", "the graph does not begin with the format 'neocog'"),
        (("version",), ..., "the version of the format is None; it must be an integer of at least 1"),
        (("version",), True, "the version of the format is True"),
        (("version",), "1", "the version of the format is '1'"),
        (("version",), 0, "the version of the format is 0"),
        (("nodes",), ..., "the graph lacks 'nodes'"),
        (("licence",), "MIT", "the graph has 'licence', which is unknown"),
        (("inputs",), {}, "`inputs` is an object; it must be a list"),
        (("inputs", 0), "x", "input 0 is a string; it must be an object"),
        (("inputs", 0, "name"), None, "the name of input 0 is null; it must be a string"),
        (("inputs", 0, "dtype"), ..., "input 0 lacks 'dtype'"),
        (("inputs", 0, "dtype"), "float33", r"input 0 \(x\) has the dtype 'float33'; it must be one of bool, uint8"),
        (("inputs", 0, "dtype"), ["float32"], r"input 0 \(x\) has the dtype \['float32'\]"),
        (("inputs", 0, "shape"), "NCHW", r"the shape of input 0 \(x\) is a string; it must be a list"),
        (("inputs", 0, "shape"), [1.5], r"input 0 \(x\) has the size 1.5; it must be a name, or an integer"),
        (("inputs", 0, "shape"), [True], r"input 0 \(x\) has the size True"),
        (("inputs", 0, "shape"), [-1], r"input 0 \(x\) has the size -1"),
        (("inputs", 0, "shape"), [""], r"input 0 \(x\) has the size ''"),
        (("inputs", 0, "layout"), "NHWC", "input 0 has 'layout', which is unknown"),
        (("inputs", 1, "name"), "x", "an input is called 'x', but so is another value"),
        (("outputs",), "y", "`outputs` is a string; it must be a list"),
        (("outputs", 0), 3, "output 0 is an integer; it must be a string"),
        (("outputs", 0), "z", "output 'z' is made by no node"),
        (("constants",), [], "`constants` is a list; it must be an object"),
        (("constants", "weight"), 1, "the tensor of constant 'weight' is an integer; it must be a string"),
        (("constants", "weight"), "wait", "constant 'weight' is the tensor 'wait', which the file has not"),
        (("constants", "weight"), ..., "the tensor 'weight' belongs to no constant"),
        (("constants", "x"), "weight", "a constant is called 'x', but so is another value"),
        (("nodes",), None, "`nodes` is null; it must be a list"),
        (("nodes", 0), [], "node 0 is a list; it must be an object"),
        (("nodes", 0, "op"), ..., "node 0 lacks 'op'"),
        (("nodes", 0, "op"), ["conv"], "the operator of node 0 is a list; it must be a string"),
        (("nodes", 0, "op"), "system", r"node 0 \(stem.conv\): there is no operator 'system'"),
        (("nodes", 0, "name"), 1.5, "the name of node 0 is a number; it must be a string"),
        (("nodes", 0, "device"), "cuda", "node 0 has 'device', which is unknown"),
        (("nodes", 0, "inputs"), "x", "an input of node 0: the list is a string; it must be a list"),
        (("nodes", 0, "inputs"), [["x"], "weight"], "an input of node 0 is a list; it must be a string"),
        (("nodes", 0, "inputs"), ["x"], r"node 0 \(stem.conv\) has 1 inputs"),
        (("nodes", 0, "inputs"), ["x", "y"], r"node 0 \(stem.conv\) uses 'y', which is no input, constant or result"),
        (("nodes", 0, "outputs"), [], r"node 0 \(stem.conv\) has 0 outputs"),
        (("nodes", 0, "outputs"), ["x"], r"node 0 \(stem.conv\) makes 'x', but that name is taken"),
        (ATTRIBUTES, [], "the attributes of node 0 is a list; it must be an object"),
        ((*ATTRIBUTES, "stride"), ..., r"node 0 \(stem.conv\) lacks the attribute `stride`"),
        ((*ATTRIBUTES, "stride"), [1.0, 1], r"`stride` is \[1.0, 1\]; it must be a list of integers"),
        ((*ATTRIBUTES, "stride"), [True, 1], r"`stride` is \[True, 1\]; it must be a list of integers"),
        (
            (*ATTRIBUTES, "stride"),
            [2**63, 1],
            "node 0: `stride` is 9223372036854775808; an integer must fit into 64 bits",
        ),
        (
            (*ATTRIBUTES, "stride"),
            [1] * 10**5 + [""],
            r"`stride` is \[1, 1, 1.* \.\.\. .*it must be a list of integers",
        ),
        (
            (*ATTRIBUTES, "activation"),
            {"float": "1"},
            "node 0: `activation` is {'float': '1'}; of objects it can only be",
        ),
        ((*ATTRIBUTES, "activation"), {"float": []}, "node 0: `activation` is"),
        ((*ATTRIBUTES, "activation"), {"float": "inf", "a": 1}, "node 0: `activation` is"),
        ((*ATTRIBUTES, "activation"), {}, "node 0: `activation` is {}"),
        ((*ATTRIBUTES, "activation"), "swoosh", "`activation` is 'swoosh'; it must be None or one of relu"),
        ((*ATTRIBUTES, "__class__"), "os", "has the attribute '__class__'; it can have stride"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_graphs(tmp_path, good, place, value, message):
    header, data = good
    changed = with_graph(header, replace(graph_of(header), place, value))
    answer = refused(tmp_path / "a.neocog", container(changed, data))
    assert_matches(message, answer)
    assert answer.endswith(COPY_AGAIN)


@pytest.mark.parametrize("document", ["null", "[]", '"neocog"', "1", "{}"])
def test_a_graph_that_is_no_graph(tmp_path, good, document):
    header, data = good
    answer = refused(tmp_path / "a.neocog", container(with_graph(header, document), data))
    assert_matches("the graph does not begin with the format 'neocog'", answer)


def test_a_newer_format_says_upgrade_before_anything_else_is_judged(tmp_path, good):
    header, data = good
    later = file_graph.VERSION + 1
    header["weight"]["dtype"] = "F8_E4M3"
    header = with_graph(header, graph_of(header) | {"version": later, "sparsity": []})
    path = tmp_path / "a.neocog"
    answer = refused(path, container(header, data))
    assert answer == (
        f"its format has the version {later}, and this neocog reads up to {file_graph.VERSION}; "
        "it was made by a newer neocog: pip install --upgrade neocog"
    )
    with pytest.raises(file.FileError, match="made by a newer neocog"):
        file.read_metadata(path)


# Places


def test_a_folder_and_a_pipe_are_refused_at_once(tmp_path):
    with pytest.raises(file.FileError, match=r"it is a directory; give the path of a \.neocog file"):
        file.load(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # to open it is to wait for somebody who writes
        with pytest.raises(file.FileError, match="it is no regular file"):
            file.load(tmp_path / "pipe")


def test_a_missing_file_is_what_python_says(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.neocog"):
        file.load(tmp_path / "nowhere.neocog")
    with pytest.raises(TypeError):
        file.load(3)


def test_metadata_are_read_with_the_same_care(tmp_path):
    path = tmp_path / "a.neocog"
    path.write_bytes(container('{"a": ' + "[" * 10**5))
    with pytest.raises(file.FileError, match="nested 100001 deep"):
        file.read_metadata(path)
    path.write_bytes(b"")
    with pytest.raises(file.FileError, match="it has 0 bytes"):
        file.read_metadata(path)


@pytest.mark.parametrize("text", ["1", '"a"', "[1.5, null]", '{"a": {"b": []}}', '"\\ud83e\\udde0"', "-0.0"])
def test_strict_json_reads_what_json_reads(text):
    assert file_json.loads(text) == json.loads(text)
