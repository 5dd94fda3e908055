"""The logic of `python -m bench nets`: the check, who is timed or left out, what is reported; never a time."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `bench` is part of the repository, not of the package

from bench import limits, networks, peers, standings, timing  # noqa: E402
from bench import nets as names  # noqa: E402
from bench.__main__ import main  # noqa: E402
from bench.compare import Outcome  # noqa: E402
from bench.nets import compare, report, runtimes  # noqa: E402
from bench.nets import peers as contenders  # noqa: E402
from bench.nets.case import Case  # noqa: E402
from bench.nets.rows import Row, rows  # noqa: E402
from bench.networks import Network  # noqa: E402
from bench.peers import Contender  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TINY = Row(Network("tiny", "mini_xception", 2, 64))
PLAIN = Row(Network("no batch norm", "strided_autoencoder", 1, 16))
JOINS = Row(Network("joins", "unet", 1, 16, {"base": 4}))
SMALL = (TINY, PLAIN, JOINS)
LIMITS = limits.Limits(1, "scalar", 1e9, 2e9, 1e9, 1e9)


@pytest.fixture
def case(tmp_path):
    return Case(TINY, 1, tmp_path)


def test_the_reference_is_float64_and_leaves_the_module_in_float32(case):
    assert case.reference.dtype == np.float64
    assert {p.dtype for p in case.module.parameters()} == {torch.float32}
    assert case.x.ctypes.data % 64 == 0


# Who competes


def test_in_bfloat16_those_compete_who_have_it():
    row = Row(TINY.network, "bf16")
    comparison = compare.compare(row, [contenders.Neocog(), contenders.Torch(), runtimes.OnnxRuntime()], 1, 1)
    assert comparison.skipped == {"onnxruntime": "is not asked for bf16"}
    assert [o.peer for o in comparison.outcomes] == ["neocog", "torch", "torch"]
    for outcome in comparison.outcomes:
        assert outcome.failure is None
        assert 1e-4 < outcome.error < contenders.BF16  # float32 would err by less


def test_a_command_line_knows_every_peer_without_importing_it():
    assert list(contenders.everyone()) == [names.NEOCOG, *names.PEERS]


# Without torch.compile, which would take minutes; neocog's networks are held to torch in tests/engine.
COMPUTING = [(name, row) for name in names.PEERS if name != contenders.Compiled.name for row in SMALL]


@pytest.mark.filterwarnings("default")  # of other libraries
@pytest.mark.parametrize(
    ("name", "row"), [(names.NEOCOG, JOINS), *COMPUTING], ids=lambda value: getattr(value, "name", value)
)
def test_who_is_here_computes_the_network(name, row):
    peer = contenders.everyone()[name]()
    if reason := peer.missing():
        pytest.skip(f"{name}: {reason}")
    if peer.unsuited(row):
        row = rows([row.network], (1,))[0]
    comparison = compare.compare(row, [peer], 1, 1)
    assert not standings.failures([comparison])
    assert not comparison.skipped
    assert comparison.outcomes
    for outcome in comparison.outcomes:
        assert outcome.error <= peer.tolerance
        assert outcome.rms_error > 0
        assert outcome.first > 0


def test_weights_and_images_lie_in_the_format_of_the_contender(case):
    seen = []
    case.module.stem.register_forward_hook(lambda layer, x, y: seen.append((layer.weight, x[0], y)))
    layouts = {}
    for entry in contenders.Torch().entries():
        entry.build(case).call()
        layouts[entry.layout] = seen.pop()
    assert not seen
    for tensor in layouts["NCHW"]:
        assert tensor.is_contiguous()
    for tensor in layouts["channels_last"]:
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert case.module.stem.weight.is_contiguous()


def test_absent_packages_are_named(monkeypatch):
    class Absent(contenders.Torch):
        name = "absent"
        modules = ("no_such_module_a", "json", "no_such_module_b")

    monkeypatch.setattr(contenders, "everyone", lambda: {"absent": Absent, "torch": contenders.Torch})
    here, absent = contenders.find(["absent", "torch"])
    assert [peer.name for peer in here] == ["neocog", "torch"]
    assert absent == {"absent": "no_such_module_a and no_such_module_b not installed"}


def test_a_converter_that_fails_says_why(tmp_path):
    made = tmp_path / "made"
    failing = "import sys; print('first', file=sys.stderr); print('the reason', file=sys.stderr); sys.exit(3)"
    with pytest.raises(RuntimeError, match="returned 3 and said 'the reason'"):
        runtimes.convert([sys.executable, "-c", failing], [made])
    with pytest.raises(RuntimeError, match="returned 0 and said 'no file'"):
        runtimes.convert([sys.executable, "-c", "print('no file')"], [made])
    runtimes.convert([sys.executable, "-c", "open('made', 'w').close()"], [made])
    assert made.exists()


def test_what_a_library_prints_is_kept_out_of_the_record(capfd):
    with runtimes.stdout_as_stderr():
        os.write(1, b"hello")
    os.write(1, b"{}")
    assert capfd.readouterr() == ("{}", "hello")


# Who is timed


@pytest.fixture
def once(monkeypatch):
    """One call per sample, and no rest before it."""
    monkeypatch.setattr(timing, "LEAST_SAMPLE", 0.0)
    monkeypatch.setattr(compare, "REST", 0.0)


def fake(name: str, act=lambda y: y, **attributes):
    """A peer that returns PyTorch's result, changed."""

    class Fake(contenders.Peer):
        def version(self):
            return "1.0"

        def build(self, case):
            module, x = case.module, torch.from_numpy(case.x)

            def call():
                with torch.inference_mode():
                    return act(module(x))

            return Contender(call, lambda y: (y.numpy(),), 100.0)

    Fake.name = name
    peer = Fake()
    for attribute, value in attributes.items():
        setattr(peer, attribute, value)
    return peer


def raising(error: Exception):
    def act(y):
        raise error

    return act


@pytest.mark.usefixtures("once")
def test_who_is_wrong_is_reported_and_who_cannot_run_is_left_out_by_name():
    field = [
        fake("neocog"),
        fake("torch"),
        fake("onnxruntime", raising(MemoryError("none left\nat all"))),
        fake("OpenVINO", lambda y: y + 2e-5 * y.abs().max()),
        fake("ncnn", unsuited=lambda row: f"no batch of {row.batch}"),
        fake("MNN", lambda y: y + 2e-5 * y.abs().max(), tolerance=contenders.WINOGRAD),
    ]
    row = compare.compare(TINY, field, 1, 2)
    assert [(o.peer, len(o.samples)) for o in row.outcomes] == [
        ("neocog", 2),
        ("torch", 2),
        ("OpenVINO", 0),
        ("MNN", 2),
    ]
    assert row.outcomes[2].failure.startswith("WrongResult: result 0 errs by")
    assert row.outcomes[3].error == pytest.approx(2e-5, rel=0.2)
    assert all(o.first > 100 for o in row.outcomes if o.samples)
    assert row.skipped == {"onnxruntime NCHW": "MemoryError: none left", "ncnn": "no batch of 2"}
    assert standings.skipped([row]) == [
        "onnxruntime NCHW: MemoryError: none left; skipped",
        "ncnn: no batch of 2; skipped",
    ]
    assert [line.partition(" errs")[0] for line in standings.failures([row])] == [
        "ERROR tiny, batch 2, OpenVINO NCHW: WrongResult: result 0"
    ]
    assert row.ratio() > 0


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    "act",
    [
        raising(AttributeError("no compile")),
        lambda y: y * torch.nan,
        lambda y: y[:1],
        lambda y: y.double(),
        lambda y: y * (1 + 1.1 * contenders.EXACT),
    ],
    ids=["raises", "nan", "an_image_missing", "float64", "just_beyond_the_tolerance"],
)
def test_neocog_is_never_left_out(act):
    row = compare.compare(TINY, [fake("neocog", act), fake("torch")], 1, 1)
    assert row.outcomes[0].failure
    assert not row.skipped
    assert row.ratio() is None
    assert len(row.outcomes[1].samples) == 1


@pytest.mark.usefixtures("once")
def test_files_are_gone_after_a_row():
    seen = []

    class Writing(contenders.Torch):
        def build(self, case, channels_last=False):
            (case.folder / "model").touch()
            seen.append(case.folder)
            return super().build(case, channels_last)

    assert not compare.compare(TINY, [Writing()], 1, 1).skipped
    assert len(seen) == 2
    assert not any(folder.exists() for folder in seen)


# What is reported


def outcome(peer: str, last: bool, *samples: float, error: float = 1e-7, first: float = 1.0) -> Outcome:
    return Outcome(peer, "channels_last" if last else "NCHW", last, list(samples), error, None, error / 10, first)


@pytest.fixture
def two():
    """A row in which neocog is twice as fast as the fastest peer, and one in which it takes twice as long."""
    theirs = [outcome("torch", False, 6, 9, 8, error=2e-7), outcome("torch", True, 5), outcome("MNN", False, 4)]
    fast = compare.Comparison(TINY, [outcome("neocog", False, 2), *theirs], {"ncnn": "one image"}, 10**9)
    slow = compare.Comparison(PLAIN, [outcome("neocog", False, 8), outcome("torch", False, 4)], {}, 10**9)
    return [fast, slow]


def test_ratios_are_of_the_fastest_peer(two):
    fast, slow = two
    assert (fast.fastest().peer, fast.ratio()) == ("MNN", 2.0)
    assert (slow.fastest().peer, slow.ratio()) == ("torch", 0.5)
    assert standings.mean(two) == pytest.approx(1.0)
    assert standings.worst_row(two) is slow
    alone = compare.Comparison(TINY, [outcome("neocog", False, 2)], {}, 10**9)
    assert (alone.fastest(), alone.ratio()) == (None, None)


def test_the_table_has_the_columns_of_those_who_ran(two):
    titles, header, *lines = report.table(two, LIMITS)
    assert "MNN" in header
    assert "ncnn" not in header
    assert "first" not in titles
    name, *cells = lines[0].split()
    assert (name, cells[:2]) == ("tiny", ["2", "1.0"])
    assert cells[2:6] == ["2000.0", "8000.0", "5000.0", "4000.0"]
    assert cells[6:] == ["0", "25%", "1e-07", "2e-07", "1e-07", "MNN", "2.00"]
    assert lines[1].split()[-9:] == ["-", "-", "0", "6%", "1e-07", "1e-07", "-", "torch", "0.50"]
    assert lines[2].split() == ["geometric", "mean", "1.00"]
    assert lines[3] == "worst: no batch norm, batch 1, 0.50"


def test_more_columns_on_demand(two):
    titles, _, line, *_ = report.table(two, LIMITS, ["first", "rms"])
    assert "first call, milliseconds" in titles
    assert "RMS error / RMS value" in titles
    assert line.split().count("1000.0") == 4
    assert line.split()[-5:-2] == ["1e-08", "2e-08", "1e-08"]


@pytest.fixture
def quick(monkeypatch, once):
    """One tiny network, peers that need nothing and no waiting for the limits."""
    monkeypatch.setattr(networks, "ROWS", (TINY.network,))
    monkeypatch.setattr(limits, "measure", lambda threads: LIMITS)
    field = [fake("neocog"), fake("torch"), fake("ncnn", unsuited=lambda row: row.batch > 1 and "one image at a time")]
    monkeypatch.setattr(contenders, "find", lambda wanted: (field, {"MNN": "not installed"}))
    return field


@pytest.mark.usefixtures("quick")
def test_json_holds_every_contender_of_every_cell(capsys):
    before = torch.get_num_threads()
    assert main(["nets", "--repeat", "2", "--threads", "1", "--batch", "2,1", "--json", "-"]) == 0
    assert torch.get_num_threads() == before
    out, err = capsys.readouterr()
    assert "MNN: not installed; skipped\n" in err
    assert "ncnn: one image at a time; skipped for tiny, batch 2\n" in err
    record = json.loads(out)
    assert record["machine"]["peers"] == {"torch": "1.0", "ncnn": "1.0"}
    assert record["machine"]["bench_threads"] == 1
    assert record["settings"] == {"rounds": 2, "precision": "fp32", "skipped_peers": {"MNN": "not installed"}}
    assert [row["name"] for row in record["rows"]] == ["tiny, batch 1", "tiny, batch 2"]
    assert [[c["peer"] for c in row["contenders"]] for row in record["rows"]] == [
        ["neocog", "torch", "ncnn"],
        ["neocog", "torch"],
    ]
    for row in record["rows"]:
        assert row["flops"] == row["batch"] * TINY.flops() / 2
        for entry in row["contenders"]:
            assert entry["failure"] is None
            assert 0 < entry["rms_error"] <= entry["error"] <= contenders.EXACT
            assert entry["first_seconds"] > 100
            assert len(entry["samples"]) == 2
            assert entry["flops_per_second"] == row["flops"] / entry["seconds"]
    assert record["summary"]["worst_ratio"] == min(row["ratio"] for row in record["rows"])


def test_a_failure_is_an_exit_code_and_a_line(quick, capsys):
    quick[0] = fake("neocog", lambda y: 2 * y)
    assert main(["nets", "--repeat", "1", "--batch", "1"]) == 1
    captured = capsys.readouterr()
    assert "ERROR tiny, batch 1, neocog NCHW: WrongResult: result 0 errs" in captured.err
    assert "error" in captured.out


@pytest.mark.usefixtures("quick")
def test_networks_that_match_nothing_are_listed(capsys):
    assert main(["nets", "--networks", "no such"]) == 2
    assert capsys.readouterr().err == "--networks 'no such' matches none of\n  tiny\n"


def test_without_torch_there_is_a_sentence(capsys, monkeypatch):
    monkeypatch.setattr(peers.Torch, "missing", staticmethod(lambda: "not installed"))
    assert main(["nets"]) == 2
    assert capsys.readouterr().err == "torch: not installed; `nets` needs it\n"


@pytest.mark.parametrize("option", [("--batch", "0"), ("--batch", "one"), ("--peers", "numpy"), ("--networks", "(")])
def test_a_mistyped_option_is_named(option, capsys):
    with pytest.raises(SystemExit):
        main(["nets", *option])
    assert f"argument {option[0]}: {option[1]!r} is not" in capsys.readouterr().err
