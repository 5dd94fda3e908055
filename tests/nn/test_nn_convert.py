"""neocog.nn.convert: what it swaps, what it keeps, and that the model computes the same."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

import neocog.nn as ours  # noqa: E402
from torch import nn  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Scaled(nn.Conv2d):
    """A subclass that computes something else."""

    def forward(self, input: Any) -> Any:
        return 2 * super().forward(input)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 3, padding=1)
        self.body = nn.Sequential(self.shared, nn.BatchNorm2d(3), nn.ReLU(), self.shared, nn.MaxPool2d(2))
        self.scaled = Scaled(3, 4, 1)
        self.up = nn.ConvTranspose2d(4, 2, 2, 2)
        self.line = nn.Sequential(nn.Conv1d(2, 2, 3), nn.BatchNorm1d(2), nn.MaxPool1d(2), nn.AvgPool1d(2))
        self.ends = nn.ModuleList([nn.ConvTranspose1d(2, 2, 2), nn.AdaptiveAvgPool1d(2), nn.AdaptiveMaxPool1d(1)])
        self.head = nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.AdaptiveMaxPool2d(1), nn.Linear(1, 1))

    def forward(self, x: Any) -> Any:
        y = self.up(self.scaled(self.body(x)))
        z = self.line(y.flatten(2))
        for end in self.ends:
            z = end(z)
        return self.head[:3](y).flatten(1) + z.flatten(1)


def test_converted_model_computes_the_same() -> None:
    net = Net()
    converted = ours.convert(net)
    x = torch.randn(2, 3, 8, 8)
    for _ in range(2):
        y, expected = converted(x), net(x)
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
        y.sum().backward()
        expected.sum().backward()
    for found, reference in zip(converted.parameters(), net.parameters(), strict=True):
        if reference.grad is None:
            assert found.grad is None
        else:
            torch.testing.assert_close(found.grad, reference.grad, rtol=1e-4, atol=1e-5)
    for found, reference in zip(converted.buffers(), net.buffers(), strict=True):
        torch.testing.assert_close(found, reference)
    assert repr(converted) == repr(net)
    net.load_state_dict(converted.state_dict())


def test_copy_leaves_the_model_alone_and_inplace_changes_it() -> None:
    net = Net()
    parameters = [p.data_ptr() for p in net.parameters()]
    converted = ours.convert(net)
    assert type(net.up) is nn.ConvTranspose2d
    assert type(converted.up) is ours.ConvTranspose2d
    assert not set(parameters) & {p.data_ptr() for p in converted.parameters()}
    assert ours.convert(net, inplace=True) is net
    assert type(net.up) is ours.ConvTranspose2d
    assert parameters == [p.data_ptr() for p in net.parameters()]  # an optimiser made before still holds them


def test_report_names_what_was_swapped_and_what_was_not() -> None:
    report = ours.convert_and_report(Net())
    assert report.kept == {"scaled": "Scaled"}
    assert report.swapped["shared"] == "Conv2d"
    assert "body.0" not in report.swapped  # the same layer
    assert set(report.swapped.values()) == {
        *("Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "BatchNorm1d", "BatchNorm2d"),
        *("MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d"),
        *("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d"),
    }
    again = ours.convert_and_report(report.model)
    assert (again.swapped, again.kept) == ({}, {"scaled": "Scaled"})


def test_shared_layers_stay_shared() -> None:
    converted = ours.convert(Net())
    assert converted.shared is converted.body[0] is converted.body[3]
    assert type(converted.shared) is ours.Conv2d


def test_hooks_flags_and_buffers_are_kept() -> None:
    net = Net()
    net.body[1].eval()
    net.up.weight.requires_grad_(False)
    net.up.register_buffer("mark", torch.ones(1))
    net.up.note = "kept"
    heard = []
    net.up.register_forward_hook(lambda module, inputs, y: heard.append(type(module)))
    converted = ours.convert(net)
    converted(torch.randn(2, 3, 8, 8))
    assert heard == [ours.ConvTranspose2d]
    assert not converted.body[1].training
    assert not converted.up.weight.requires_grad
    assert (converted.up.note, converted.up.mark.item()) == ("kept", 1)


def test_a_layer_itself_is_converted() -> None:
    assert type(ours.convert(nn.Conv1d(1, 1, 1))) is ours.Conv1d


def test_what_is_no_module_is_an_error() -> None:
    with pytest.raises(TypeError, match="`model` is a int"):
        ours.convert(3)
