"""torch.nn's layers on neocog's kernels, and some that torch lacks.

Arguments, defaults, initial values, state_dict and repr of the layers are torch's. float32 and float64 tensors on the
CPU run on `torch.ops.neocog`; everything else runs as in torch.nn. Under autocast these layers compute in float32: the
kernels have nothing narrower.
"""

from __future__ import annotations

from neocog.nn.batch_norm import BatchNorm1d, BatchNorm2d
from neocog.nn.conv import Conv1d, Conv2d
from neocog.nn.conv_bn_act import ConvBNAct
from neocog.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d
from neocog.nn.convert import Conversion, convert, convert_and_report
from neocog.nn.pool import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    MaxPool1d,
    MaxPool2d,
)
from neocog.nn.separable import SeparableConv1d, SeparableConv2d

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "ConvBNAct",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Conversion",
    "MaxPool1d",
    "MaxPool2d",
    "SeparableConv1d",
    "SeparableConv2d",
    "convert",
    "convert_and_report",
]
