"""The logic of `python -m bench train`: rows, the check of a step, who is timed and what is reported; never a time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `bench` is part of the repository, not of the package

import neocog.torch  # noqa: E402
from torch import nn  # noqa: E402

from bench import limits, networks, peers, standings, timing, train  # noqa: E402
from bench.__main__ import main  # noqa: E402
from bench.check import WrongResult  # noqa: E402
from bench.compare import Outcome  # noqa: E402
from bench.networks import Network, Training  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

# (batch, GFLOP of the forward pass of one image), as published with the first measurements.
PUBLISHED = {
    "mini-Xception 180": (16, "0.77"),
    "ResNet-18 224": (8, "3.6"),
    "ResNet-50 224": (4, "8.2"),
    "U-Net base 32, 256": (2, "24.1"),
    "strided auto-encoder 256": (4, "14.8"),
    "Xception 299": (2, "16.7"),
}
TINY = Network("tiny", "mini_xception", 2, 24, {"dropout": 0.0})
PLAIN = Network("no batch norm", "strided_autoencoder", 1, 16)
EAGER = [c for c in train.CONTENDERS if c.name != train.COMPILE]
LIMITS = limits.Limits(1, "scalar", 1e9, 2e9, 1e9, 1e9)


def reference(network: Network):
    return Training(network, dtype=torch.float64).calm_step()


def test_the_rows_are_the_published_ones():
    assert {row.name: row.batch for row in networks.ROWS} == {name: batch for name, (batch, _) in PUBLISHED.items()}


@pytest.mark.parametrize("row", networks.ROWS, ids=lambda row: row.name)
def test_a_row_counts_what_was_published(row):
    gflop = PUBLISHED[row.name][1]
    digits = len(gflop.partition(".")[2])
    assert f"{row.flops() / 3 / row.batch / 1e9:.{digits}f}" == gflop


@pytest.mark.parametrize("network", [TINY, PLAIN], ids=lambda network: network.name)
def test_contenders_start_alike_and_leave_torch_s_random_numbers_alone(network):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    (one, x, target), (other, *again) = ((network.build(), *network.data()) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(x, again[0])
    assert torch.equal(target, again[1])
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert one.training


@pytest.mark.parametrize("network", [TINY, PLAIN], ids=lambda network: network.name)
def test_relus_of_a_calm_network_are_open_and_shut_and_never_next_to_zero(network):
    seen = []
    training = Training(network)
    for layer in training.model.modules():
        if isinstance(layer, nn.ReLU):
            layer.register_forward_pre_hook(lambda layer, x: seen.append(x[0].detach().clone()))
    training.calm_step()
    assert seen
    for x in seen:
        assert float(x.abs().min()) > 1e-4
        assert 0.3 < float((x > 0).float().mean()) < 0.7


def test_a_step_trains_and_a_calm_step_changes_nothing():
    training = Training(TINY)
    before = {name: t.clone() for name, t in training.model.state_dict().items()}
    training.calm_step()
    assert all(torch.equal(t, before[name]) for name, t in training.model.state_dict().items())
    losses = [float(training.step().detach()) for _ in range(4)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]
    assert not torch.equal(training.model.stem.weight, before["stem.weight"])


@pytest.mark.parametrize("network", [TINY, PLAIN], ids=lambda network: network.name)
@pytest.mark.parametrize("contender", EAGER, ids=lambda c: f"{c.name}-{train.FORMATS[c.channels_last]}")
def test_every_contender_passes_the_check(network, contender):
    training = contender.build(network, contender.channels_last)
    with contender.session():
        assert 0 < train.largest_error(*training.calm_step(), *reference(network)) < train.GRADIENT_TOLERANCE


@pytest.mark.parametrize("last", [False, True], ids=train.FORMATS.values())
def test_weights_and_images_lie_in_the_format_of_the_contender(last):
    training = Training(TINY, last)
    seen = []
    stem = training.model.stem
    stem.register_forward_hook(lambda layer, x, y: seen.extend([x[0], y]))
    training.step()
    for tensor in (stem.weight, *seen):
        assert tensor.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def spoilt(spoil) -> Training:
    """A contender of which one layer computes something else."""

    def convert(model: nn.Module) -> nn.Module:
        spoil(model)
        return model

    return Training(TINY, convert=convert)


class Transposed(torch.autograd.Function):
    """x as it is, its gradient with rows and columns exchanged: a kernel that mistakes one for the other."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, grad):
        return grad.transpose(2, 3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: m.stem.register_forward_pre_hook(lambda layer, x: x[0].roll(1, 3)), "the loss errs by"),
        (lambda m: m.stem.register_forward_hook(lambda layer, x, y: Transposed.apply(y)), "grad of stem.weight errs"),
        (lambda m: m.fc.register_forward_hook(lambda layer, x, y: y * torch.nan), "the loss errs by nan"),
        (lambda m: m.fc.bias.requires_grad_(False), "nobody asked for: fc.bias"),
        (lambda m: m.stem.weight.register_hook(lambda grad: grad * 1.06), "grad of stem.weight errs by 6"),
    ],
    ids=["forward_one_pixel_off", "backward_transposed", "nan", "a_gradient_missing", "just_beyond_the_tolerance"],
)
def test_the_check_rejects_a_wrong_step(spoil, message):
    with pytest.raises(WrongResult, match=message):
        train.largest_error(*spoilt(spoil).calm_step(), *reference(TINY))


def test_a_gradient_that_is_zero_but_for_rounding_is_held_against_the_others():
    """As that of a bias in front of a batch norm: no part of it is right."""
    exact = {"weight": torch.tensor([3.0, 4.0]), "bias": torch.tensor([1e-17, -1e-17])}
    rounded = {"weight": exact["weight"], "bias": torch.tensor([-2e-8, 1e-8])}
    assert train.largest_error(1.0, rounded, 1.0, exact) == pytest.approx(5**0.5 * 1e-8 / 5, rel=1e-3)
    with pytest.raises(WrongResult, match="grad of bias errs"):
        train.largest_error(1.0, rounded | {"bias": torch.tensor([0.5, 0.0])}, 1.0, exact)


@pytest.fixture
def once(monkeypatch):
    """One call per sample."""
    monkeypatch.setattr(timing, "LEAST_SAMPLE", 0.0)


def failing(error: Exception):
    def build(network, channels_last):
        raise error

    return build


@pytest.mark.usefixtures("once")
def test_who_is_wrong_is_reported_and_who_cannot_run_is_skipped_by_name():
    def wrong(network, channels_last):
        return spoilt(lambda m: m.stem.register_forward_pre_hook(lambda layer, x: x[0].roll(1, 3)))

    contenders = [
        train.Contender(train.TORCH, False, train.CONTENDERS[0].build),
        train.Contender(train.COMPILE, False, failing(RuntimeError("no C++ compiler\nof ten")), optional=True),
        train.Contender(train.PATCH, False, wrong),
        train.Contender(train.PATCH, True, failing(MemoryError("none left"))),
        train.Contender(train.NN, False, failing(train.Unavailable("no neocog.nn here"))),
    ]
    row = train.compare(TINY, contenders, 2)
    assert [(o.peer, o.layout, len(o.samples)) for o in row.outcomes] == [
        (train.TORCH, "NCHW", 2),
        (train.PATCH, "NCHW", 0),
        (train.PATCH, "channels_last", 0),
    ]
    assert row.outcomes[1].failure.startswith("WrongResult: the loss errs by")
    assert row.outcomes[2].failure == "MemoryError: none left"
    assert row.ratio() is None
    assert [line.partition(" errs")[0] for line in standings.failures([row])] == [
        "ERROR tiny, neocog.torch.patch NCHW: WrongResult: the loss",
        "ERROR tiny, neocog.torch.patch channels_last: MemoryError: none left",
    ]
    assert standings.skipped([row]) == [
        "torch.compile NCHW: RuntimeError: no C++ compiler; skipped",
        "neocog.nn NCHW: no neocog.nn here; skipped",
    ]


@pytest.mark.usefixtures("once")
def test_a_wrong_result_of_an_optional_contender_is_a_failure():
    def wrong(network, channels_last):
        return spoilt(lambda m: m.fc.register_forward_hook(lambda layer, x, y: 2 * y))

    row = train.compare(TINY, [train.Contender(train.COMPILE, False, wrong, optional=True)], 1)
    assert "WrongResult" in row.outcomes[0].failure
    assert not row.skipped


@pytest.mark.usefixtures("once")
def test_only_the_patched_contender_is_timed_under_the_patch(monkeypatch):
    """It is process-wide: one that stays open would time our kernels as torch's."""
    seen: dict[str, set[bool]] = {}

    def watched(contender):
        def build(network, channels_last):
            training = contender.build(network, channels_last)
            step = training.step

            def watch():
                seen.setdefault(contender.name, set()).add(neocog.torch.is_enabled())
                return step()

            training.step = watch
            return training

        return train.Contender(contender.name, contender.channels_last, build, contender.session)

    row = train.compare(TINY, [watched(c) for c in EAGER], 2)
    assert not standings.failures([row])
    assert {name: states for name, states in seen.items() if name != train.NN} == {
        train.TORCH: {False},
        train.PATCH: {True},
    }
    assert True not in seen.get(train.NN, set())
    assert not neocog.torch.is_enabled()


def outcome(peer: str, last: bool, *samples: float) -> Outcome:
    return Outcome(peer, train.FORMATS[last], last, list(samples))


def test_ratios_are_torch_s_fastest_mode_over_ours():
    torchs = [outcome(train.TORCH, False, 6, 9, 8), outcome(train.TORCH, True, 5), outcome(train.COMPILE, False, 4)]
    ours = [outcome(train.PATCH, False, 2), outcome(train.PATCH, True, 4), outcome(train.NN, True, 1)]
    fast = train.Comparison(TINY, [*torchs, *ours], {}, 10**9)
    assert (fast.ratio(), fast.ratio(train.PATCH), fast.ratio(train.NN)) == (4.0, 2.0, 4.0)
    slow = train.Comparison(PLAIN, [torchs[0], outcome(train.PATCH, False, 32)], {"neocog.nn NCHW": "absent"}, 10**9)
    assert (slow.ratio(), slow.ratio(train.NN)) == (0.25, None)
    assert standings.mean([fast, slow]) == pytest.approx(1.0)
    assert standings.worst_row([fast, slow]) is slow
    assert standings.skipped([fast, slow]) == ["neocog.nn NCHW: absent; skipped for no batch norm"]
    lines = list(train.table([fast, slow], LIMITS))
    assert lines[-1] == "worst: no batch norm, 0.25"
    assert lines[-2].split() == ["geometric", "mean", "0.71", "4.00", "1.00"]
    name, *cells = lines[2].split()
    assert (name, cells[:2]) == ("tiny", ["2", "1.0"])
    milliseconds, (speed, of_peak), ratios = cells[2:8], cells[8:10], cells[10:]
    assert milliseconds == ["8000.0", "5000.0", "4000.0", "2000.0", "4000.0", "1000.0"]
    assert (speed, of_peak, ratios) == ("1", "50%", ["2.00", "4.00", "4.00"])


@pytest.fixture
def quick(monkeypatch, once):
    """One tiny row, no compiler and no waiting for the limits."""
    monkeypatch.setattr(networks, "ROWS", (TINY,))
    monkeypatch.setattr(train, "CONTENDERS", tuple(EAGER))
    monkeypatch.setattr(limits, "measure", lambda threads: LIMITS)


@pytest.mark.usefixtures("quick")
def test_json_holds_every_contender(capsys):
    before = torch.get_num_threads()
    assert main(["train", "--repeat", "2", "--threads", "1", "--json", "-"]) == 0
    assert torch.get_num_threads() == before
    record = json.loads(capsys.readouterr().out)
    assert record["machine"]["peers"] == {"torch": torch.__version__}
    (row,) = record["rows"]
    assert (row["name"], row["model"], row["batch"], row["flops"]) == ("tiny", "mini_xception", 2, TINY.flops())
    found = [(c["peer"], c["layout"]) for c in row["contenders"]]
    skipped = [tuple(label.split()) for label in row["skipped"]]
    assert sorted(found + skipped) == sorted((c.name, train.FORMATS[c.channels_last]) for c in EAGER)
    for entry in row["contenders"]:
        assert entry["failure"] is None
        assert entry["error"] < train.GRADIENT_TOLERANCE
        assert len(entry["samples"]) == 2
        assert entry["flops_per_second"] == row["flops"] / entry["seconds"]
    assert record["summary"]["worst_row"] == "tiny"
    assert record["summary"]["geometric_mean"] == pytest.approx(row["ratio"])


@pytest.mark.usefixtures("quick")
def test_a_failure_is_an_exit_code_and_a_line(capsys, monkeypatch):
    monkeypatch.setattr(train, "LOSS_TOLERANCE", -1.0)
    assert main(["train", "--repeat", "1"]) == 1
    captured = capsys.readouterr()
    assert "ERROR tiny, neocog.torch.patch NCHW: WrongResult: the loss errs" in captured.err
    assert "error" in captured.out


@pytest.mark.usefixtures("quick")
def test_rows_that_match_nothing_are_listed(capsys):
    assert main(["train", "--rows", "no such row"]) == 2
    assert "tiny" in capsys.readouterr().err


def test_without_torch_there_is_a_sentence(capsys, monkeypatch):
    monkeypatch.setattr(peers.Torch, "missing", staticmethod(lambda: "not installed"))
    assert main(["train"]) == 2
    assert capsys.readouterr().err == "torch: not installed; `train` needs it\n"
