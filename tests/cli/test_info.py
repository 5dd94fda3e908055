"""`neocog info` and the root of the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import neocog
import pytest
from neocog import _core, cli


def run(*words: str, **environment: str) -> str:
    """Standard output of `python -m neocog ...` in a process of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    command = [sys.executable, "-m", "neocog", *words]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_text_names_every_subject_once_and_aligned(capsys):
    assert cli.main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    labels = [line[:15].strip() for line in lines]
    for label in (
        "neocog",
        "Python",
        "NumPy",
        "platform",
        "CPU",
        "instruction set",
        "threads",
        "OpenMP",
        "build",
    ):
        assert labels.count(label) == 1, label
    # Two spaces at least after the longest label, and every value begins in the same column.
    assert all(line[15:17] == "  " and line[17] != " " for line in lines)


def test_json_holds_what_show_config_returns(capsys):
    assert cli.main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == neocog.show_config()


def test_the_configuration_agrees_with_the_process():
    config = neocog.show_config()
    assert config["neocog"] == neocog.__version__
    assert config["isa"]["active"] == _core.active_isa()
    assert config["isa"]["available"] == _core.available_isas()
    assert config["bf16"]["active"] == _core.active_bf16_unit()
    assert config["bf16"]["available"] == _core.available_bf16_units()
    assert config["threads"]["count"] == neocog.get_num_threads()
    assert config["packages"].keys() == {
        "torch",
        "keras",
        "onnx",
        "onnxruntime",
        "pillow",
        "scikit-image",
        "matplotlib",
    }
    assert config["build"]["compiler"].startswith(("GCC ", "Clang "))
    assert config["build"]["cxx_standard"] >= 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/maps")
def test_the_openmp_runtime_is_a_file_that_is_mapped():
    if not _core.build_info()["openmp"]:
        pytest.skip("built without OpenMP")
    maps = Path("/proc/self/maps").read_text()
    runtimes = neocog.show_config()["openmp"]
    assert runtimes
    assert all(Path(path).is_file() and path in maps for path in runtimes)


@pytest.mark.parametrize(
    ("environment", "count", "source"),
    [
        ({"NEOCOG_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3, "NEOCOG_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "2,1"}, 2, "OMP_NUM_THREADS"),
        ({"NEOCOG_NUM_THREADS": "many", "OMP_NUM_THREADS": "5"}, 5, "OMP_NUM_THREADS"),
        ({}, None, "all processors that this process may use"),
    ],
    ids=["own_variable_wins", "openmp_lists_levels", "nonsense_is_passed_over", "default"],
)
def test_the_number_of_threads_says_where_it_comes_from(environment, count, source):
    if not _core.build_info()["openmp"]:
        pytest.skip("built without OpenMP")
    threads = json.loads(run("info", "--json", **environment))["threads"]
    assert threads["source"] == source
    assert threads["environment"] == environment
    assert count is None or threads["count"] == count


def test_set_num_threads_is_told_from_the_environment(monkeypatch):
    before = neocog.get_num_threads()
    monkeypatch.setenv("NEOCOG_NUM_THREADS", "7")
    neocog.set_num_threads(5)
    try:
        assert neocog.show_config()["threads"]["source"] == "neocog.set_num_threads"
    finally:
        neocog.set_num_threads(before)


def test_the_override_of_the_instruction_set_is_shown():
    isa = json.loads(run("info", "--json", NEOCOG_ISA="scalar"))["isa"]
    assert isa["active"] == isa["override"] == "scalar"
    assert "NEOCOG_ISA=scalar" in run("info", NEOCOG_ISA="scalar")


def test_an_absent_package_names_its_extra(capsys, monkeypatch):
    monkeypatch.setattr("neocog._config._version_of", lambda package: None)
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert 'pip install "neocog[torch]"' in out
    assert 'pip install "neocog[demo]"' in out


def test_nothing_optional_is_imported():
    code = (
        "import sys; from neocog import cli; cli.main(['info', '--json']); "
        "optional = {'torch', 'onnx', 'onnxruntime', 'PIL', 'skimage', 'matplotlib'}; "
        "print(sorted(optional & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_version_is_the_package_s():
    assert run("--version").strip() == f"neocog {neocog.__version__}"


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["info", "--no-such-option"]])
def test_words_that_make_no_command_exit_with_2(words, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(words)
    assert exit_.value.code == 2
    assert "usage: neocog" in capsys.readouterr().err


def test_every_command_is_listed_by_help(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert all(f"    {name} " in out for name in cli.COMMANDS)


def test_an_interrupted_command_exits_with_130(monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("neocog._config.show_config", interrupt)
    assert cli.main(["info"]) == cli.INTERRUPTED


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX pipe")
def test_a_reader_that_leaves_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        done = subprocess.run([sys.executable, "-m", "neocog", "info"], stdout=out, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
