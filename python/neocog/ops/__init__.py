"""Functional operators on arrays, forward and backward."""

from neocog._activations import ACTIVATIONS as ACTIVATIONS
from neocog.ops.conv import conv1d as conv1d
from neocog.ops.conv import conv1d_backward as conv1d_backward
from neocog.ops.conv import conv2d as conv2d
from neocog.ops.conv import conv2d_backward as conv2d_backward
from neocog.ops.conv_transpose import conv_transpose1d as conv_transpose1d
from neocog.ops.conv_transpose import conv_transpose1d_backward as conv_transpose1d_backward
from neocog.ops.conv_transpose import conv_transpose2d as conv_transpose2d
from neocog.ops.conv_transpose import conv_transpose2d_backward as conv_transpose2d_backward
from neocog.ops.depthwise import depthwise_conv2d as depthwise_conv2d
from neocog.ops.depthwise import depthwise_conv2d_backward as depthwise_conv2d_backward
from neocog.ops.gemm import linear as linear
from neocog.ops.gemm import linear_backward as linear_backward
from neocog.ops.separable import separable_conv2d as separable_conv2d
from neocog.ops.separable import separable_conv2d_backward as separable_conv2d_backward
