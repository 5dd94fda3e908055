"""The operators of `torch.ops.neocog`; importing this module registers them.

Images are (N, C, H, W) or (N, C, L), weights as in torch.nn. Lists have one value per spatial axis, height first, or
one for all axes. `padding` may also have two values per axis, (lo, hi, ...): what "same" needs with a stride. Results
have x's memory format, or channels_last where the weight does. Every list of gradients has an empty tensor where
`output_mask` is False.

- `conv(x, weight, bias?, stride, padding, dilation, groups) -> y`
- `conv_backward(grad_y, x, weight, stride, padding, dilation, groups, output_mask)
  -> grad_x, grad_weight, grad_bias`
- `conv_transpose(x, weight, bias?, stride, padding, output_padding, groups, dilation) -> y`
- `conv_transpose_backward(grad_y, x, weight, ..., output_mask) -> grad_x, grad_weight, grad_bias`
- `separable_conv(x, depthwise_weight, pointwise_weight, bias?, stride, padding, dilation) -> y`
- `separable_conv_backward(grad_y, x, depthwise_weight, pointwise_weight, ..., output_mask) -> four gradients`
- `conv_bn_act_training(x, weight, bias?, bn_weight?, bn_bias?, stride, padding, dilation, groups, eps, activation?)
  -> y, middle, mean, var`: `middle` is what the convolution gives, `activation` a name of `neocog.ops.ACTIVATIONS`
- `conv_bn_act_inference(x, weight, bias?, mean, var, bn_weight?, bn_bias?, ..., eps, activation?) -> y`
- `max_pool(x, kernel_size, stride, padding, dilation, ceil_mode) -> y, indices`; no stride means the kernel's size
- `avg_pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override?) -> y`
- `adaptive_max_pool(x, output_size) -> y, indices` and `adaptive_avg_pool(x, output_size) -> y`
- `max_pool_backward(grad_y, indices, in_size, channels_last) -> grad_x`, of both max poolings
- `avg_pool_backward(grad_y, in_size, kernel_size, ..., channels_last) -> grad_x`
- `adaptive_avg_pool_backward(grad_y, in_size, channels_last) -> grad_x`
- `batch_norm_training(x, weight?, bias?, eps) -> y, mean, var` with the biased variance; x is (N, C, ...)
- `batch_norm_inference(x, mean, var, weight?, bias?, eps) -> y`
- `batch_norm_backward(grad_y, x, mean, var, weight?, eps, training, output_mask) -> grad_x, grad_weight, grad_bias`
- `batch_norm_act_backward(grad_y, x, mean, var, weight?, bias?, eps, training, activation, output_mask)
  -> grad_x, grad_weight, grad_bias`: the same for batch norm and the activation after it

All but the indices can be differentiated, any number of times in reverse mode; forward mode is a NotImplementedError.
Under autocast everything is computed in float32: the kernels have nothing narrower. vmap folds its axis into the batch
where only images have it, and loops otherwise.

Raises:
    TypeError: A dtype is not float32 or float64, or dtypes differ; nothing is converted silently.
    ValueError: Ranks, shapes or numbers do not fit; the message names the argument, its value and the repair.
Accuracy: As the functions of `neocog.ops` with these names.
"""

from __future__ import annotations

from neocog.torch.library import batch_norm as batch_norm
from neocog.torch.library import batch_norm_act as batch_norm_act
from neocog.torch.library import conv as conv
from neocog.torch.library import conv_bn_act as conv_bn_act
from neocog.torch.library import conv_transpose as conv_transpose
from neocog.torch.library import pool as pool
from neocog.torch.library import separable_conv as separable_conv
