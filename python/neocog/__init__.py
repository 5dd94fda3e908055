"""Convolutional networks, fast and exact, on the CPU you have."""

from __future__ import annotations

import importlib as _importlib
import warnings as _warnings
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from neocog import _core
from neocog import ops as ops
from neocog._config import show_config as show_config
from neocog._memory import empty_cache as empty_cache
from neocog._strict import strict as strict
from neocog._threads import get_num_threads as get_num_threads
from neocog._threads import set_num_threads as set_num_threads

if _TYPE_CHECKING:
    from neocog import engine as engine
    from neocog import keras as keras
    from neocog import models as models
    from neocog import nn as nn
    from neocog import onnx as onnx
    from neocog import torch as torch
    from neocog.engine.compile import compile as compile
    from neocog.engine.compile import load as load
    from neocog.torch.check import check as check

__version__ = _core.__version__

if _core.isa_environment_error is not None:
    _warnings.warn(
        f"NEOCOG_ISA {_core.isa_environment_error}; using {_core.active_isa()}.", RuntimeWarning, stacklevel=2
    )
if _core.bf16_environment_error is not None:
    _warnings.warn(f"NEOCOG_BF16 {_core.bf16_environment_error}; it is ignored.", RuntimeWarning, stacklevel=2)


def __getattr__(name: str) -> _Any:
    # Imported on use: these need the frameworks that `import neocog` must not bring.
    if name in ("engine", "keras", "models", "nn", "onnx", "torch"):
        return _importlib.import_module(f"neocog.{name}")
    if name in ("compile", "load"):
        return getattr(_importlib.import_module("neocog.engine.compile"), name)
    if name == "check":
        return _importlib.import_module("neocog.torch.check").check
    raise AttributeError(f"module 'neocog' has no attribute {name!r}")
