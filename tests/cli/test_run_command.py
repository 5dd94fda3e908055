"""`neocog run`: what a network is given and what is printed and written, held against arithmetic by hand."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
from command_models import WEIGHT, classifier, filter_, picture, run, two_inputs, write
from neocog.cli import _results
from neocog.engine.graph import Graph, Input, Node

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def test_classes_of_a_picture(tmp_path, capsys):
    path, pixels = picture(tmp_path)
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\ngr\u00e4ulich\n", encoding="utf-8")
    model = write(classifier(), tmp_path / "c.neocog")
    words = ("run", model, "--image", path, "--labels", tmp_path / "labels.txt", "--top", 2)
    code, out, _ = run(capsys, *words)
    assert code == 0
    scores = WEIGHT @ pixels.mean((0, 1))
    probabilities = np.exp(scores) / np.exp(scores).sum()
    order = np.argsort(-scores)
    lines = out.splitlines()
    assert lines[0] == f"x: float32 1x3x20x30, from {path}"
    assert lines[1].startswith(f"scores: float32 1x4, from {scores.min():.4g} to {scores.max():.4g}, mean ")
    assert lines[2] == "  a.png"
    for place, i in enumerate(order[:2], 1):
        label = ("red", "green", "blue", "gr\u00e4ulich")[i]
        expected = [f"{place}.", "class", str(i), label, f"{scores[i]:.4f}", f"{probabilities[i]:.1%}"]
        assert lines[2 + place].split() == expected
    assert len(lines) == 5
    _, out, _ = run(capsys, *words, "--json")
    top = json.loads(out)["outputs"]["scores"]["top"]
    assert [entry["label"] for entry in top[0]] == [("red", "green", "blue", "gr\u00e4ulich")[i] for i in order[:2]]
    assert [entry["score"] for entry in top[0]] == pytest.approx(scores[order[:2]], rel=1e-5)


def test_several_pictures_are_one_batch(tmp_path, capsys):
    paths = [picture(tmp_path)[0], picture(tmp_path, "b.png", (40, 20))[0]]
    model = write(classifier(("N", 3, 16, 16)), tmp_path / "c.neocog")
    _, out, _ = run(capsys, "run", model, "--image", paths[0], "--image", paths[1])
    assert out.startswith(f"x: float32 2x3x16x16, from {paths[0]}, {paths[1]}\n")
    assert "\n  a.png\n" in out
    assert "\n  b.png\n" in out


def test_random_input_says_so(tmp_path, capsys):
    model = write(classifier(), tmp_path / "c.neocog")
    _, out, _ = run(capsys, "run", model, "--size", "8x9", "--batch", 2, "--seed", 3)
    assert out.startswith("x: float32 2x3x8x9, from random numbers, seed 3\n")
    assert "\n  item 0\n" in out
    assert "\n  item 1\n" in out


def test_a_picture_goes_through_and_is_written(tmp_path, capsys):
    path, pixels = picture(tmp_path)
    model = write(filter_(), tmp_path / "f.neocog")
    _, out, _ = run(capsys, "run", model, "--image", path, "--output", tmp_path / "y.png")
    assert out.endswith(f"written: {tmp_path / 'y.png'}\n")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "y.png")), np.rint(255 * pixels))


def test_what_is_beyond_a_pictures_range_is_cut_and_counted(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.float32([[[[0.5, 1.0, 2.0, 3.0]]], [[[0, 0, 0, 1]]]]))
    model = write(filter_(1), tmp_path / "f.neocog")
    words = ("run", model, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.png")
    _, out, _ = run(capsys, *words)
    assert out.endswith(
        f"written: {tmp_path / 'y-0.png'}, {tmp_path / 'y-1.png'} "
        "(25.0% of the values were beyond 0 to 1 and are cut)\n"
    )
    assert np.asarray(Image.open(tmp_path / "y-0.png")).tolist() == [[128, 255, 255, 255]]
    _, out, _ = run(capsys, *words, "--json")
    assert json.loads(out)["cut"] == 0.25


def test_arrays_by_name_and_all_results_in_one_file(tmp_path, capsys):
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "shape.npy", np.int32([3, 4]))
    model = write(two_inputs(), tmp_path / "t.neocog")
    given = ("--input", f"shape={tmp_path / 'shape.npy'}", "--input", f"x={tmp_path / 'x.npy'}")
    code, out, _ = run(capsys, "run", model, *given, "--output", tmp_path / "y.npz")
    assert code == 0
    assert "y: float32 3x4, from 0 to 11, mean 5.5\n" in out
    with np.load(tmp_path / "y.npz", allow_pickle=False) as written:
        assert written.files == ["y", "file"]  # a result may have the name of an argument of numpy.savez
        np.testing.assert_array_equal(written["y"], x.reshape(3, 4))
        np.testing.assert_array_equal(written["file"], x)


def test_one_result_as_npy(tmp_path, capsys):
    model = write(classifier(), tmp_path / "c.neocog")
    run(capsys, "run", model, "--size", 8, "--output", tmp_path / "y.npy")
    assert np.load(tmp_path / "y.npy").shape == (1, 4)


def test_profile_and_explanation_name_every_step(tmp_path, capsys):
    model = write(classifier(), tmp_path / "c.neocog")
    _, out, _ = run(capsys, "run", model, "--size", 8, "--explain", "--profile")
    assert out.count("linear") == 2
    assert "GFLOP/s" in out
    _, out, _ = run(capsys, "run", model, "--size", 8, "--explain", "--profile", "--json")
    report = json.loads(out)
    assert [s["operator"] for s in report["explanation"]["steps"]] == [
        s["operator"] for s in report["profile"]["steps"]
    ]
    assert all(step["seconds"] >= 0 for step in report["profile"]["steps"])


def test_no_number_is_null_in_json_and_loud_in_text(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.full((1, 3, 2, 2), np.nan, np.float32))
    model = write(classifier(), tmp_path / "c.neocog")
    _, out, _ = run(capsys, "run", model, "--input", tmp_path / "x.npy")
    assert "; 4 VALUES ARE NO FINITE NUMBERS" in out
    _, out, _ = run(capsys, "run", model, "--input", tmp_path / "x.npy", "--json")
    described = json.loads(out, parse_constant=lambda text: pytest.fail(text))["outputs"]["scores"]
    assert described["not_finite"] == 4
    assert described["top"][0][0]["score"] is None


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (classifier(), ["--image", "nowhere.png"], "nowhere.png does not exist; check the path"),
        (classifier(), ["--labels", "nowhere.txt"], "nowhere.txt: no such file or directory; check the path"),
        (classifier(), ["--size", "8", "--labels", __file__], "lines, and the network 4 classes; they must agree"),
        (classifier(), ["--output", "y.pt"], "--output y.pt must end in .npz, .npy, .png or .jpg"),
        (classifier(), ["--output", "no/y.npz"], "--output no/y.npz: there is no folder no; make it first"),
        (
            classifier(),
            ["--size", "8", "--output", "y.png"],
            "needs one result that is N x 3 or 1 x H x W; there are scores",
        ),
        (two_inputs(), [], "the network needs shape, int64 (2); give --input shape=FILE.npy"),
        (classifier(), ["--input", "{x}"], "`x` has the shape (1, 5), but the network takes (N, 3, H, W)"),
    ],
    ids=["image", "labels", "number_of_labels", "suffix", "folder", "no_picture", "numbers", "shape"],
)
def test_what_does_not_fit_is_one_line_with_its_repair(tmp_path, capsys, monkeypatch, graph, options, message):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "x.npy", np.zeros((1, 5), np.float32))
    model = write(graph, tmp_path / "m.neocog")
    code, _, err = run(capsys, "run", model, *(option.format(x=tmp_path / "x.npy") for option in options))
    assert code == 2
    assert message in err


def test_two_results_are_not_one_npy(tmp_path, capsys):
    np.save(tmp_path / "s.npy", np.int64([2, 3]))
    model = write(two_inputs(), tmp_path / "t.neocog")
    words = ("--input", f"shape={tmp_path / 's.npy'}", "--output", tmp_path / "y.npy")
    code, _, err = run(capsys, "run", model, *words)
    assert code == 2
    assert "holds one result, and the network has 2; use .npz" in err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.neocog", None, "it does not exist (the current directory is "),
        ("a.neocog", b"", "it has 0 bytes"),
        ("a.neocog", b"PK\x03\x04 something else altogether", "is it another kind of file?"),
        ("a.h5", b"", "it is no .onnx, .pt2 or .neocog file; write one with torch.onnx.export"),
        (
            "resnet18",
            None,
            "it is no .onnx, .pt2 or .neocog file; write one with torch.onnx.export, torch.export.save or",
        ),
    ],
    ids=["missing", "empty", "zip", "keras", "name"],
)
def test_a_model_that_is_none_is_one_line_with_its_repair(tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, _, err = run(capsys, "run", tmp_path / name)
    assert code == 2
    assert message in err
    assert err.count(name) == 1  # errors of files name their path too


@pytest.mark.parametrize("use", ["read", "write"])
def test_a_missing_pillow_says_how_to_get_it(tmp_path, capsys, monkeypatch, use):
    path, _ = picture(tmp_path)
    model = write(filter_(), tmp_path / "f.neocog")
    monkeypatch.setitem(sys.modules, "PIL", None)
    words = ("--image", path) if use == "read" else ("--size", 8, "--output", tmp_path / "y.png")
    code, _, err = run(capsys, "run", model, *words)
    assert code == 2
    assert "needs Pillow, which is not installed; pip install pillow" in err


# Results


def test_probabilities_are_left_as_they_are_and_scores_take_softmax():
    given = np.float32([[0.7, 0.2, 0.1], [1.0, 2.0, 3.0]])
    first, second = _results.top_classes(given, 3)
    assert [entry["probability"] for entry in first] == pytest.approx([0.7, 0.2, 0.1])
    total = sum(math.exp(i) for i in (1, 2, 3))
    assert [entry["probability"] for entry in second] == pytest.approx([math.exp(i) / total for i in (3, 2, 1)])


def test_equal_scores_keep_their_order_and_large_ones_do_not_overflow():
    (ranked,) = _results.top_classes(np.float32([[3e38, 3e38, -3e38, 3e38]]), 4)
    assert [entry["class"] for entry in ranked] == [0, 1, 3, 2]
    assert [entry["probability"] for entry in ranked] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


@pytest.mark.parametrize(
    ("shape", "answer"),
    [((2, 10), True), ((2, 10, 1, 1), True), ((2, 1), False), ((2, 10, 2, 1), False), ((10,), False), ((), False)],
)
def test_scores_are_known_by_their_shape(shape, answer):
    assert _results.are_classes(np.zeros(shape, np.float32)) is answer
    assert not _results.are_classes(np.zeros(shape, np.int64))


def test_an_empty_result_has_no_range(tmp_path):
    described = _results.summary(np.zeros((0, 3), np.float32), 5, None)
    assert described == {"shape": [0, 3], "dtype": "float32", "top": []}
    assert list(_results.lines("y", described, [])) == ["y: float32 0x3"]


def test_a_scalar_result_is_printed(tmp_path, capsys):
    graph = Graph([Input("x", (2,))], ["y"], [Node("sum", ("x",), ("y",))], {})
    _, out, _ = run(capsys, "run", write(graph, tmp_path / "s.neocog"))
    assert "y: float32 scalar, from " in out
