"""Keras 3 on neocog's kernels: `patch()`. Needs Keras with its PyTorch backend."""

from __future__ import annotations

from neocog.keras.patch import Patch as Patch
from neocog.keras.patch import patch as patch
