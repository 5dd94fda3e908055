"""Convolutional networks, fast and exact, on the CPU you have."""

from __future__ import annotations

import warnings as _warnings

from neocog import _core
from neocog import ops as ops
from neocog._config import show_config as show_config
from neocog._threads import get_num_threads as get_num_threads
from neocog._threads import set_num_threads as set_num_threads

__version__ = _core.__version__

if _core.isa_environment_error is not None:
    _warnings.warn(
        f"NEOCOG_ISA {_core.isa_environment_error}; using {_core.active_isa()}.", RuntimeWarning, stacklevel=2
    )
