"""Functional operators on arrays, forward and backward."""

from neocog._activations import ACTIVATIONS as ACTIVATIONS
from neocog.ops.conv import conv1d as conv1d
from neocog.ops.conv import conv1d_backward as conv1d_backward
from neocog.ops.conv import conv2d as conv2d
from neocog.ops.conv import conv2d_backward as conv2d_backward
