"""The README: its example runs, and its table lists every operator, each with its gradient."""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
sys.path.insert(0, str(README.parent))  # for bench, which is not installed
# No function of their own: max pooling's, from the indices.
GRADIENT_BY_INDICES = {
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "global_max_pool1d",
    "global_max_pool2d",
}


@pytest.fixture(scope="module")
def text() -> str:
    return README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def listed(text) -> set[str]:
    """Names in the first column of the table of operators."""
    table = re.search(r"## Operators\n\n.*?\n\n", text, re.DOTALL)[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def public_functions() -> set[str]:
    from neocog import ops

    return {name for name, value in vars(ops).items() if inspect.isfunction(value) and name[0] != "_"}


def test_the_example_runs(text):
    from neocog import ops

    found: dict[str, object] = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], found)
    assert found["ops"] is ops
    assert found["grad_images"].shape == found["images"].shape
    assert found["grad_weight"].shape == found["weight"].shape


def test_the_example_with_pytorch_runs(text, capsys):
    pytest.importorskip("torch")
    import neocog.torch

    neocog.torch.stats(reset=True)
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[1], {})
    printed = capsys.readouterr().out
    assert "'convolution': {'neocog': 1, 'torch': {}}" in printed
    assert "tensors are right" in printed


def test_the_example_of_a_whole_network_runs(text, capsys, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    _, with_torch, whole = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    found: dict[str, object] = {}
    exec(with_torch, found)
    exec(whole, found)
    with torch.no_grad():
        expected = found["model"](found["images"])
    assert abs(found["y"] - expected.numpy()).max() < 1e-5
    assert (found["network"](found["images"].numpy()) == found["y"]).all()
    assert "conv" in capsys.readouterr().out


def test_the_table_lists_every_operator(listed):
    assert listed == {name for name in public_functions() if not name.endswith("_backward")}


def test_every_operator_has_its_gradient(listed):
    assert {f"{name}_backward" for name in listed - GRADIENT_BY_INDICES} == {
        name for name in public_functions() if name.endswith("_backward")
    }


def test_the_training_numbers_are_those_of_a_stored_record(text):
    sentence, name = re.search(r"takes ([^(]*\([^)]*\)) up \(\[record\]\(bench/records/([\w.-]+)\)\)", text).groups()
    record = json.loads((README.parent / "bench" / "records" / name).read_text(encoding="utf-8"))
    summary = record["summary"]
    assert " ".join(sentence.split()) == (
        f"{summary['geometric_mean']:.2f} times as long as the fastest way here, "
        f"from {summary['worst_ratio']:.2f} ({summary['worst_row']})"
    )


@pytest.mark.parametrize("which", ["ops", "nets"])
def test_the_numbers_are_those_of_a_stored_record(text, which):
    from bench import readme

    begin, end, lines = {
        "ops": (readme.BEGIN, readme.END, readme.lines),
        "nets": (readme.BEGIN_NETS, readme.END_NETS, readme.network_lines),
    }[which]
    inside = text.partition(begin)[2].partition(end)[0]
    name = re.search(r"bench/records/([\w.-]+\.json)", inside)[1]
    record = json.loads((README.parent / "bench" / "records" / name).read_text(encoding="utf-8"))
    assert inside == "\n".join(lines(record, name)) + "\n"


def test_links_lead_to_files(text):
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    assert targets
    assert [target for target in targets if not (README.parent / target).exists()] == []


def test_the_version_has_a_place_in_the_changelog():
    import neocog

    changelog = (README.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {neocog.__version__}" in changelog
