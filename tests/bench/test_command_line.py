"""The command line of the benches: what it prints and writes, and what it says of wrong options; never a time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `bench` is part of the repository, not of the package

from bench_rows import LIMITS, REPORTED  # noqa: E402

from bench import check, readme  # noqa: E402
from bench.__main__ import main  # noqa: E402
from bench.ops.row import PASSES  # noqa: E402


@pytest.mark.usefixtures("quick")
def test_json_holds_every_contender(capsys):
    assert main(["ops", "--repeat", "2", "--threads", "1", "--peers", "", "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["machine"]["cpu"]["model"]
    assert record["limits"]["fma_peak"] == LIMITS.fma_peak
    assert [(row["name"], row["pass"]) for row in record["rows"]] == [("strided", pass_) for pass_ in PASSES]
    assert {(row["threads"], row["issue"]) for row in record["rows"]} == {(1, None)}
    for row in record["rows"]:
        assert [entry["layout"] for entry in row["contenders"]] == ["NCHW", "NHWC"]
        for entry in row["contenders"]:
            assert entry["failure"] is None
            assert entry["error"] < check.TOLERANCE
            assert entry["rms_error"] < check.TOLERANCE
            assert entry["first_seconds"] > 0
            assert len(entry["samples"]) == 2
            assert entry["flops_per_second"] == row["flops"] / entry["seconds"]
            assert entry["of_fma_peak"] == entry["flops_per_second"] / row["reach"]["fma_peak"]


@pytest.mark.usefixtures("quick")
def test_json_holds_every_number_of_threads(capsys):
    assert main(["ops", "--repeat", "1", "--threads", "2,1,2", "--peers", "", "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [(row["pass"], row["threads"]) for row in record["rows"]] == [(p, n) for p in PASSES for n in (1, 2)]
    assert {n: part["limits"]["threads"] for n, part in record["by_threads"].items()} == {"1": 1, "2": 2}
    assert record["machine"]["bench_threads"] == record["limits"]["threads"] == 2
    assert record["summary"] == record["by_threads"]["2"]["summary"]


@pytest.mark.usefixtures("quick")
def test_complaints_are_a_set_of_rows_with_a_column_for_the_issue(capsys):
    words = ["ops", "--repeat", "1", "--threads", "1", "--peers", "", "--pass", "forward"]
    assert main([*words, "--set", "complaints"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].split()[:3] == ["forward", "issue", "GFLOP"]
    assert lines[-1].split()[:2] == [REPORTED.name, REPORTED.issue]
    assert main([*words, "--set", "complaints", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["settings"]["set"] == "complaints"
    assert [row["issue"] for row in record["rows"]] == [REPORTED.issue]
    assert main(words) == 0
    assert "issue" not in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_there_is_a_table_for_each_number_of_threads_and_columns_on_demand(capsys):
    words = ["ops", "--repeat", "1", "--peers", "", "--pass", "forward"]
    assert main([*words, "--threads", "1,2", "--show", "first,rms"]) == 0
    text = capsys.readouterr().out
    assert "threads 1, 2)" in text
    assert [line.split("GFLOP")[0].strip() for line in text.splitlines() if line.startswith("forward")] == [
        "forward, 1 thread",
        "forward, 2 threads",
    ]
    assert text.count("neocog, first, ms") == text.count("RMS error / RMS value") == 2
    assert main([*words, "--threads", "1"]) == 0
    text = capsys.readouterr().out
    assert "first" not in text
    assert "RMS" not in text


@pytest.mark.usefixtures("quick")
def test_the_readme_takes_the_standard_rows_with_the_most_threads(tmp_path, capsys):
    pytest.importorskip("torch")
    record, page = tmp_path / "record.json", tmp_path / "README.md"
    words = ["ops", "--repeat", "1", "--peers", "torch", "--json", str(record)]
    assert main([*words, "--threads", "1,2"]) == 0
    page.write_text(f"above\n{readme.BEGIN}old\n{readme.END}\nbelow\n")
    readme.write(record, page)
    text = page.read_text()
    assert "2 threads" in text
    (line,) = (line for line in text.splitlines() if line.startswith("| strided"))
    last = [row for row in json.loads(record.read_text())["rows"] if row["pass"] == "forward"][-1]
    assert last["threads"] == 2
    assert line.split(" | ")[4:6] == readme._cells(last, "torch")
    assert main([*words, "--set", "complaints"]) == 0
    with pytest.raises(ValueError, match="holds the rows of --set complaints"):
        readme.write(record, page)
    assert page.read_text() == text


@pytest.mark.usefixtures("quick")
def test_a_failure_is_an_exit_code_and_a_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(check, "TOLERANCE", -1.0)
    target = tmp_path / "record.json"
    words = ["ops", "--pass", "forward", "--repeat", "1", "--peers", "", "--json", str(target)]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "ERROR strided, forward, neocog NHWC: WrongResult" in captured.err
    assert "error" in captured.out
    assert all("seconds" not in entry for entry in json.loads(target.read_text())["rows"][0]["contenders"])


@pytest.mark.usefixtures("quick")
def test_limits_are_printed_or_written(capsys):
    assert main(["limits", "--threads", "1"]) == 0
    assert "2.0 GFLOP/s" in capsys.readouterr().out
    assert main(["limits", "--threads", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["limits"] == vars(LIMITS)


@pytest.mark.usefixtures("quick")
def test_rows_that_match_nothing_are_listed(capsys):
    assert main(["ops", "--rows", "no such row"]) == 2
    assert "strided" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--peers", "caffe"], "'caffe' is not one of torch, onnxruntime"),
        (["--repeat", "0"], "'0' is not a whole number of at least 1"),
        (["--rows", "("], "not a regular expression"),
        (["--set", "praise"], "invalid choice: 'praise'"),
        (["--show", "first,last"], "'last' is not one of first, rms"),
        (["--threads", "2,0"], "'0' is not a whole number of at least 1"),
        (["--json", "no/such/folder/x.json"], "cannot be written"),
    ],
)
def test_a_wrong_option_is_explained_before_any_work(words, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["ops", *words])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
