"""`neocog.check` and `neocog check`: right models pass, a wrong kernel is found in its own layer and nowhere else."""

from __future__ import annotations

import importlib
import json
import math
import os

import pytest

torch = pytest.importorskip("torch")

import neocog  # noqa: E402
from neocog import cli  # noqa: E402
from torch import nn  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 4, 3),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(36, 2),
    )


def images():
    return torch.randn(4, 3, 10, 10, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def wrong(monkeypatch):
    """Makes one of our operators return something else."""
    patching = importlib.import_module("neocog.torch.patch")
    neocog.torch.enable()  # so that the overrides exist
    neocog.torch.disable()

    def spoil(name, change):
        override = patching._overrides[name]
        right = override.function
        monkeypatch.setattr(override, "function", lambda *args: change(right(*args)))

    return spoil


@pytest.mark.parametrize(
    ("name", "shape", "arguments"),
    [
        ("resnet18", (2, 3, 64, 64), {}),
        ("unet", (1, 3, 32, 32), {"base": 8}),
        ("mini_xception", (2, 3, 96, 96), {}),
        ("m5", (2, 1, 8000), {}),
    ],
)
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_networks_are_the_same_here_and_there(name, shape, arguments, training):
    torch.manual_seed(0)
    model = neocog.models.create_model(name, **arguments).train(training)
    report = neocog.check(model, torch.randn(shape))
    assert report.ok, str(report)
    assert report.worst("output").error <= 1e-5
    assert report.worst("gradient").error <= 1e-4
    assert report.whole <= 1e-4
    assert report.ran["convolution"]["torch"] == {}


def test_every_leaf_and_every_parameter_is_compared():
    report = neocog.check(network(), images())
    outputs = [c.name for c in report.comparisons if c.what == "output"]
    assert outputs == [str(i) for i in range(8)]
    gradients = {c.name for c in report.comparisons if c.what == "gradient"}
    assert gradients >= {"0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "7.weight", "input 0", "3", "6"}
    assert report.ok
    assert report.ran["convolution"] == {"neocog": 2, "torch": {}}


def test_a_wrong_output_is_found_where_it_arises(wrong):
    wrong("max_pool2d_with_indices", lambda result: (result[0] * 1.001, result[1]))
    report = neocog.check(network(), images())
    assert [(c.name, c.what) for c in report.comparisons if not c.ok] == [("3", "output")]
    assert report.worst("output").error == pytest.approx(1e-3, rel=1e-2)
    assert "WRONG" in str(report)
    assert report.whole > 1e-4


def test_a_wrong_gradient_is_found_where_it_arises(wrong):
    wrong("convolution_backward", lambda grads: (grads[0], grads[1] * 1.01, grads[2]))
    report = neocog.check(network(), images())
    assert {c.name for c in report.comparisons if not c.ok} == {"0.weight", "4.weight"}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_a_number_is_wrong(wrong, value):
    wrong("native_batch_norm", lambda result: (result[0].index_fill(0, torch.tensor([0]), value), *result[1:]))
    broken = [c for c in neocog.check(network(), images()).comparisons if not c.ok]
    assert [(c.name, c.error) for c in broken] == [("1", math.inf)]


def test_numbers_that_are_none_in_both_are_the_same():
    x = images()
    x[0, 0, 0, 0] = math.nan
    report = neocog.check(network().eval(), x, gradients=False)
    assert report.ok, str(report)


def test_a_gradient_of_nothing_but_rounding_is_excused_where_torch_is_worse():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    report = neocog.check(model, torch.randn(8, 3, 40, 40))
    bias = next(c for c in report.comparisons if c.name == "0.bias")
    assert bias.of_float64 < bias.torch_of_float64
    assert report.ok


def test_the_model_stays_as_it_is():
    model, x = network(), images()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draw = torch.random.get_rng_state()
    neocog.check(model, x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), draw)
    assert not x.requires_grad
    assert all(not module._forward_hooks for module in model.modules())


def test_modules_called_twice_and_outputs_of_many_tensors():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.pool = nn.MaxPool2d(2, return_indices=True)

        def forward(self, x, scale):
            y, indices = self.pool(self.conv(self.conv(x)))
            return {"y": y * scale, "indices": indices}

    report = neocog.check(Twice(), (images(), 2.0))
    assert [c.name for c in report.comparisons if c.what == "output"] == ["conv", "conv (2)", "pool[0]"]
    assert report.ok, str(report)


def test_what_is_no_module_is_named():
    with pytest.raises(TypeError, match="`model` is a function"):
        neocog.check(lambda x: x, images())


def test_the_report_is_text_json_and_a_rich_table():
    report = neocog.check(network(), images())
    assert json.loads(json.dumps(report.as_dict()))["ok"] is True
    lines = str(report).splitlines()
    assert lines[0].split()[:3] == ["tensor", "of", "shape"]
    assert "all 25 tensors are right" in lines[-1]
    rich = pytest.importorskip("rich.console")
    with open(os.devnull, "w") as nowhere:
        console = rich.Console(record=True, width=200, file=nowhere)
        console.print(report)
    assert "all 25 tensors are right" in console.export_text()


@pytest.mark.parametrize("words", [[], ["--eval", "--no-gradients"], ["--channels-last"]])
def test_the_command_ends_well(words, capsys):
    assert cli.main(["check", "resnet18", "--input", "1x3x64x64", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_the_command_ends_with_1_where_a_tensor_is_wrong(wrong, capsys):
    wrong("native_batch_norm", lambda result: (result[0] + 1, *result[1:]))
    assert cli.main(["check", "neocog.models:m5", "--input", "1x1x4000", "--eval"]) == 1
    assert "WRONG" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resnet19"], "did you mean 'resnet18'"),
        (["neocog.models:nothing"], "nothing"),
        (["no.such.module:net"], "No module named"),
        (["m5", "--input", "1x3x64x64"], "m5"),
    ],
)
def test_the_command_ends_with_2_without_a_model_or_its_input(words, message, capsys):
    assert cli.main(["check", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_shape_that_is_none_is_explained(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["check", "resnet18", "--input", "1x3xq"])
    assert stop.value.code == 2
    assert "2x3x224x224" in capsys.readouterr().err
