"""aten's operators on our kernels: tensors in, tensors out, nothing copied that is dense.

Each function has the signature of its aten operator and returns what that returns, in shape, strides and memory
format. What our kernels do not compute raises `Unsupported` before any work; wrong arguments too, so that torch itself
can say what is wrong with them. Called below autograd: nothing here records a gradient.
"""

from __future__ import annotations

from neocog.torch.kernels.batch_norm import native_batch_norm as native_batch_norm
from neocog.torch.kernels.batch_norm import native_batch_norm_backward as native_batch_norm_backward
from neocog.torch.kernels.convolution import convolution as convolution
from neocog.torch.kernels.convolution import convolution_backward as convolution_backward
from neocog.torch.kernels.elementwise import threshold_backward as threshold_backward
from neocog.torch.kernels.pool import adaptive_avg_pool2d as adaptive_avg_pool2d
from neocog.torch.kernels.pool import adaptive_avg_pool2d_backward as adaptive_avg_pool2d_backward
from neocog.torch.kernels.pool import adaptive_max_pool2d as adaptive_max_pool2d
from neocog.torch.kernels.pool import adaptive_max_pool2d_backward as adaptive_max_pool2d_backward
from neocog.torch.kernels.pool import avg_pool2d as avg_pool2d
from neocog.torch.kernels.pool import avg_pool2d_backward as avg_pool2d_backward
from neocog.torch.kernels.pool import max_pool2d_with_indices as max_pool2d_with_indices
from neocog.torch.kernels.pool import max_pool2d_with_indices_backward as max_pool2d_with_indices_backward
from neocog.torch.kernels.resample import upsample_bilinear2d as upsample_bilinear2d
from neocog.torch.kernels.resample import upsample_bilinear2d_backward as upsample_bilinear2d_backward
from neocog.torch.kernels.resample import upsample_linear1d as upsample_linear1d
from neocog.torch.kernels.resample import upsample_linear1d_backward as upsample_linear1d_backward
from neocog.torch.kernels.resample import upsample_nearest1d as upsample_nearest1d
from neocog.torch.kernels.resample import upsample_nearest1d_backward as upsample_nearest1d_backward
from neocog.torch.kernels.resample import upsample_nearest2d as upsample_nearest2d
from neocog.torch.kernels.resample import upsample_nearest2d_backward as upsample_nearest2d_backward
from neocog.torch.kernels.tensors import Unsupported as Unsupported
