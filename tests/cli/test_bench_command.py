"""`neocog bench`: results are compared before anything is timed; peers that cannot take part say why. Nothing is timed
against a clock here."""

from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from command_models import classifier, run, two_inputs, write
from neocog.cli import _peers, _timing
from neocog.cli.bench import BOUND, difference


def peer(change=lambda y: y, name="other"):
    """A builder of a peer that computes what neocog does, and then changes it."""

    def build(model, arrays, threads):
        own = _peers.neocog(model, arrays, threads)
        return _peers.Contender(
            name, "1.0", own.call, lambda returned: [change(y.copy()) for y in own.results(returned)]
        )

    return build


@pytest.fixture
def peers(monkeypatch):
    """Lets a test say who takes part, under names of modules that exist."""

    def set_peers(**builders):
        monkeypatch.setattr(_peers, "_PEERS", {name: (build, False) for name, build in builders.items()})
        monkeypatch.setattr(_peers, "find_spec", lambda name: SimpleNamespace())

    return set_peers


@pytest.fixture
def model(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, 8, 8),)), tmp_path / "net.pt2")
    return tmp_path / "net.pt2"


def test_torch_takes_part_in_an_exported_program(capsys, model):
    code, out, _ = run(capsys, "bench", model, "--rounds", 1, "--threads", 1, "--json")
    assert code == 0
    report = json.loads(out)
    ours, theirs = report["rows"][:2]
    assert (ours["name"], ours["ratio"]) == ("neocog", 1.0)
    assert theirs["name"] == "torch"
    assert theirs["difference"] < 1e-5
    assert theirs["ratio"] == pytest.approx(theirs["seconds"] / ours["seconds"])
    assert report["ok"]
    assert report["inputs"] == [{"name": "input", "shape": [1, 3, 8, 8], "from": "random numbers, seed 0"}]
    assert (report["threads"], report["rounds"]) == (1, 1)


def test_threads_of_torch_are_set_while_it_runs_and_then_given_back(capsys, model, peers):
    torch = pytest.importorskip("torch")
    before, seen = torch.get_num_threads(), set()

    def build(model, arrays, threads):
        return _peers.Contender("torch", "1.0", lambda: seen.add(torch.get_num_threads()), lambda _: results)

    own = _peers.neocog(SimpleNamespace(graph=classifier()), [np.zeros((1, 3, 8, 8), np.float32)], 1)
    results = own.results(own.call())
    del own
    peers(torch=build)
    run(capsys, "bench", model, "--rounds", 1, "--threads", before + 1)
    assert seen == {before + 1}
    assert torch.get_num_threads() == before


def test_the_table_has_a_line_for_each_and_the_reason_of_who_is_absent(capsys, model, peers):
    def broken(model, arrays, threads):
        raise RuntimeError("does not know\nthis operator")

    peers(other=peer(), broken=broken)
    code, out, _ = run(capsys, "bench", model, "--rounds", 2)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{model}, input: 1x3x8x8, random numbers, seed 0"
    assert "medians of 2 rounds" in lines[1]
    rows = {line.split()[0]: line.split() for line in lines[4:]}
    assert rows["neocog"][4] == "1.00"
    assert rows["other"][-1] == "0.0e+00"
    assert rows["broken:"] == ["broken:", "cannot", "run", "it:", "does", "not", "know", "this", "operator"]


@pytest.mark.parametrize(
    "change",
    [lambda y: y * np.float32(1 + 3 * BOUND), lambda y: y[:, :-1], lambda y: y * np.float32(np.nan)],
    ids=["values", "shape", "nan"],
)
def test_a_wrong_result_is_code_1_and_nothing_is_timed(capsys, model, peers, change, monkeypatch):
    monkeypatch.setattr(_timing, "interleaved_medians", lambda *_: pytest.fail("timed"))
    peers(right=peer(name="right"), wrong=peer(change, name="wrong"))
    code, out, _ = run(capsys, "bench", model)
    assert code == 1
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert rows["wrong"].endswith("DIFFERS")
    assert not rows["right"].endswith("DIFFERS")
    assert out.endswith("so nothing was timed\n")
    code, out, _ = run(capsys, "bench", model, "--json")
    assert code == 1
    report = json.loads(out, parse_constant=pytest.fail)  # an infinite difference is null
    assert not report["ok"]
    assert all("seconds" not in row for row in report["rows"])


@pytest.mark.parametrize("suffix", ["neocog", "pt2"])
def test_peers_that_cannot_read_the_file_say_what_they_take(tmp_path, capsys, monkeypatch, suffix, model):
    monkeypatch.setattr(_peers, "find_spec", lambda name: None if name == "openvino" else SimpleNamespace())
    path = model if suffix == "pt2" else write(classifier(), tmp_path / "c.neocog")
    code, out, _ = run(capsys, "bench", path, "--rounds", 1, "--size", 8)
    assert code == 0
    assert "openvino: not installed: pip install openvino\n" in out
    assert "onnxruntime: takes .onnx files only\n" in out
    assert ("torch: takes .pt2 files and names of models only\n" in out) is (suffix == "neocog")


def test_peers_agree_on_an_onnx_file(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 8, 8]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "small", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a.onnx")
    code, out, _ = run(capsys, "bench", tmp_path / "a.onnx", "--rounds", 1, "--batch", 2, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["inputs"][0]["shape"] == [2, 3, 8, 8]
    assert "onnxruntime" in [row["name"] for row in report["rows"]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nowhere.neocog", "it does not exist (the current directory is "),
        (lambda folder: write(two_inputs(), folder / "t.neocog"), "the network needs shape, int64 (2); give --input"),
        (lambda folder: "resnet19", "did you mean 'resnet18'?"),
    ],
    ids=["missing", "numbers", "name"],
)
def test_a_model_that_cannot_be_timed_is_one_line_with_its_repair(tmp_path, capsys, make, message):
    code, _, err = run(capsys, "bench", make(tmp_path))
    assert code == 2
    assert message in err


# The comparison and the order


def test_the_difference_is_relative_to_the_largest_value_and_never_hides():
    y = np.float32([1, -4, 2])
    assert difference([y], [y]) == 0
    assert difference([y + np.float32([0, 0, 1])], [y]) == pytest.approx(0.25)
    assert difference([y, y], [y]) == math.inf
    assert difference([y[:2]], [y]) == math.inf
    assert difference([np.float32([np.nan, -4, 2])], [y]) == math.inf
    assert difference([y], [np.float32([1, -4, np.inf])]) == math.inf
    assert difference([np.float32([np.nan, np.inf])], [np.float32([np.nan, np.inf])]) == 0
    assert difference([np.zeros(0)], [np.zeros(0)]) == 0
    assert difference([np.float32([0.5])], [np.float32([0])]) == 0.5
    assert difference([np.int64([3])], [np.int64([4])]) == 0.25


def test_every_round_times_every_call_after_an_untimed_one_and_turns_round(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(_timing, "perf_counter", lambda: next(clock))  # every sample takes a second
    order = []
    medians = _timing.interleaved_medians([lambda: order.append("a"), lambda: order.append("b")], 3)
    assert medians == [1, 1]
    assert "".join(order[4:]) == "aabb" + "bbaa" + "aabb"


def test_a_short_call_is_repeated_inside_a_sample(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(_timing, "perf_counter", lambda: now[0])

    def call():
        now[0] += 0.0005

    assert _timing.interleaved_medians([call], 1) == [pytest.approx(0.0005)]
    assert now[0] == pytest.approx(0.0005 * (2 + 1 + 4))  # to choose the number, untimed, and four in the sample


def test_the_command_line_imports_no_library_before_it_is_used():
    import subprocess

    code = (
        "import sys, neocog.cli.bench, neocog.cli.run, neocog.cli.convert\n"
        "print(sorted({'PIL', 'torch', 'onnx', 'onnxruntime', 'openvino'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
