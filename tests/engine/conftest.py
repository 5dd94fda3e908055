"""Fixtures of the engine's tests: what torch.compile handed over, and what was built of it."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that torch.compile hands over in this test; the counts start from zero."""
    import torch
    from neocog.torch import backend, backend_counts

    torch.compiler.reset()
    backend.stats(reset=True)
    monkeypatch.setattr(backend_counts, "_said", set())
    found: list[Any] = []
    original = backend.compile_inference

    def compile_inference(graph, num_threads):
        found.append(graph)
        return original(graph, num_threads)

    monkeypatch.setattr(backend, "compile_inference", compile_inference)
    yield found
    torch.compiler.reset()


@pytest.fixture
def models(monkeypatch):
    """The `CompiledModel`s that were built in this test."""
    from neocog.engine import compiled as engine
    from neocog.torch import backend_inference

    built: list[Any] = []

    class Recorded(engine.CompiledModel):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            built.append(self)

    monkeypatch.setattr(backend_inference, "CompiledModel", Recorded)
    return built
