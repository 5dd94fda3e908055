"""Named geometries, each named for the reason it exists. Tests run them all; `bench` may time them.

Shapes are logical: x (N, C, H, W) or (N, C, L), weights as torch has them. `case.steps` are the keyword
arguments of the op.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Conv:
    x: Shape  # (N, C, H, W) or (N, C, L)
    weight: Shape  # (O, C / groups, kH, kW) or (O, C / groups, k)
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    @property
    def steps(self) -> dict[str, Any]:
        names = ("stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names}

    @property
    def terms(self) -> int:
        """Terms in the sum of one output, bias included."""
        return prod(self.weight[1:]) + 1


@dataclass(frozen=True)
class Depthwise:
    x: Shape  # (N, C, H, W)
    weight: Shape  # (C * multiplier, 1, kH, kW)
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1

    @property
    def steps(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    @property
    def terms(self) -> int:
        return prod(self.weight[2:]) + 1


@dataclass(frozen=True)
class Separable(Depthwise):
    out_channels: int = 8

    @property
    def pointwise_weight(self) -> Shape:
        return (self.out_channels, self.weight[0], 1, 1)

    @property
    def terms(self) -> int:
        return prod(self.weight[2:]) + self.weight[0] + 1


@dataclass(frozen=True)
class ConvTranspose:
    x: Shape  # (N, C, H, W) or (N, C, L)
    weight: Shape  # (C, O / groups, kH, kW) or (C, O / groups, k)
    stride: Any = 1
    padding: Any = 0
    output_padding: Any = 0
    groups: int = 1
    dilation: Any = 1

    @property
    def steps(self) -> dict[str, Any]:
        names = ("stride", "padding", "output_padding", "groups", "dilation")
        return {name: getattr(self, name) for name in names}

    @property
    def out_channels(self) -> int:
        return self.weight[1] * self.groups

    @property
    def terms(self) -> int:
        """At most so many terms in the sum of one output, bias included."""
        return self.x[1] // self.groups * prod(self.weight[2:]) + 1


@dataclass(frozen=True)
class Pool:
    x: Shape  # (N, C, H, W) or (N, C, L)
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1  # max pooling only
    ceil_mode: bool = False

    @property
    def max_steps(self) -> dict[str, Any]:
        return {**self.avg_steps, "dilation": self.dilation}

    @property
    def avg_steps(self) -> dict[str, Any]:
        names = ("kernel_size", "stride", "padding", "ceil_mode")
        return {name: getattr(self, name) for name in names}


CONV2D = {
    "one_pixel": Conv((1, 1, 1, 1), (1, 1, 1, 1)),
    "pointwise": Conv((2, 17, 5, 7), (19, 17, 1, 1)),
    "pointwise_wide": Conv((1, 728, 4, 5), (33, 728, 1, 1)),
    "pointwise_strided_skips_pixels": Conv((2, 6, 7, 8), (10, 6, 1, 1), stride=2),
    "pointwise_padded_has_bias_only_border": Conv((1, 3, 4, 4), (5, 3, 1, 1), padding=1),
    "resnet_3x3": Conv((2, 32, 14, 14), (32, 32, 3, 3), padding=1),
    "stem_7x7_stride_2": Conv((1, 3, 21, 23), (20, 3, 7, 7), stride=2, padding=3),
    "first_layer_one_channel": Conv((2, 1, 9, 11), (17, 1, 5, 5), padding=2),
    "one_output_channel": Conv((2, 17, 9, 8), (1, 17, 3, 3), padding=1),
    "channels_not_a_vector_multiple": Conv((2, 17, 7, 9), (17, 17, 3, 3), padding=1),
    "channels_728": Conv((1, 728, 5, 4), (9, 728, 3, 3), padding=1),
    "channels_728_out": Conv((1, 5, 4, 5), (728, 5, 3, 3), padding=1),
    "odd_sizes_rectangular_kernel": Conv((3, 5, 11, 13), (7, 5, 3, 2), padding=(1, 0)),
    "stride_leaves_a_remainder": Conv((1, 8, 8, 11), (9, 8, 3, 3), stride=(2, 3), padding=1),
    "stride_exceeds_kernel": Conv((2, 4, 13, 12), (6, 4, 2, 2), stride=(5, 3)),
    "image_one_wide": Conv((2, 3, 17, 1), (8, 3, 3, 1), padding=(1, 0)),
    "image_one_wide_padded_kernel": Conv((2, 5, 9, 1), (6, 5, 3, 3), padding=1),
    "image_one_high": Conv((2, 3, 1, 17), (8, 3, 1, 3)),
    "kernel_is_the_image": Conv((2, 6, 5, 4), (7, 6, 5, 4)),
    "kernel_exceeds_image_within_padding": Conv((1, 4, 3, 2), (5, 4, 5, 5), padding=2),
    "row_wider_than_every_tile": Conv((1, 2, 3, 131), (3, 2, 3, 3), padding=1),
    "dilated": Conv((1, 8, 12, 13), (8, 8, 3, 3), padding=2, dilation=2),
    "dilation_reaches_past_both_edges": Conv((1, 6, 6, 5), (7, 6, 3, 3), padding=6, dilation=6),
    "dilated_strided_rectangular": Conv((2, 3, 14, 15), (5, 3, 2, 3), stride=(3, 2), padding=(1, 4), dilation=(4, 3)),
    "asymmetric_padding": Conv((2, 5, 8, 9), (6, 5, 3, 4), padding=((0, 1), (2, 1))),
    "asymmetric_padding_one_side_only": Conv((1, 4, 6, 6), (4, 4, 3, 3), stride=2, padding=((0, 3), (4, 0))),
    "same_stride_2_even_size": Conv((2, 3, 8, 10), (8, 3, 3, 3), stride=2, padding="same"),
    "same_stride_2_odd_size": Conv((2, 3, 7, 9), (8, 3, 3, 3), stride=2, padding="same"),
    "same_even_kernel": Conv((1, 4, 6, 7), (5, 4, 4, 2), padding="same"),
    "same_stride_exceeds_kernel": Conv((1, 3, 10, 11), (4, 3, 1, 2), stride=3, padding="same"),
    "same_dilated": Conv((1, 3, 9, 8), (4, 3, 3, 2), padding="same", dilation=(2, 3)),
    "valid_by_name": Conv((1, 3, 9, 8), (4, 3, 3, 2), padding="valid"),
    "padding_exceeds_kernel": Conv((1, 3, 4, 5), (4, 3, 2, 2), padding=4),
    "groups_of_4_channels": Conv((2, 32, 7, 6), (32, 4, 3, 3), padding=1, groups=8),
    "groups_of_8_channels": Conv((1, 32, 6, 7), (32, 8, 3, 3), stride=2, padding=1, groups=4),
    "groups_of_unequal_widths": Conv((2, 15, 6, 5), (6, 5, 3, 3), padding=1, groups=3),
    "groups_of_one_input_channel": Conv((1, 6, 7, 7), (18, 1, 3, 3), padding=1, groups=6),
    "groups_to_one_output_channel": Conv((2, 12, 5, 6), (3, 4, 3, 3), padding=1, groups=3),
    "groups_pointwise": Conv((2, 24, 5, 5), (16, 6, 1, 1), groups=4),
    "batch_0": Conv((0, 3, 6, 6), (4, 3, 3, 3), padding=1),
    "batch_5": Conv((5, 4, 6, 5), (9, 4, 3, 3), padding=1),
}

CONV1D = {
    "audio_stem_k80_stride_4": Conv((1, 1, 400), (16, 1, 80), stride=4, padding=38),
    "k3": Conv((2, 17, 33), (19, 17, 3), padding=1),
    "pointwise": Conv((2, 9, 12), (5, 9, 1)),
    "length_one": Conv((3, 4, 1), (6, 4, 3), padding=1),
    "dilated": Conv((1, 6, 40), (7, 6, 3), padding=8, dilation=8),
    "causal_padding": Conv((2, 5, 20), (6, 5, 4), padding=((3, 0),)),
    "same_stride_3": Conv((2, 3, 20), (4, 3, 5), stride=3, padding="same"),
    "stride_exceeds_kernel": Conv((2, 3, 25), (4, 3, 2), stride=7),
    "depthwise_long_kernel": Conv((1, 24, 60), (24, 1, 31), padding=15, groups=24),
    "groups": Conv((2, 12, 18), (9, 4, 3), stride=2, groups=3),
    "batch_0": Conv((0, 3, 9), (4, 3, 3)),
}

DEPTHWISE = {
    "mobilenet_3x3": Depthwise((2, 32, 14, 14), (32, 1, 3, 3), padding=1),
    "mobilenet_3x3_stride_2": Depthwise((1, 32, 15, 14), (32, 1, 3, 3), stride=2, padding=1),
    "xception_728": Depthwise((1, 728, 6, 7), (728, 1, 3, 3), padding=1),
    "convnext_7x7": Depthwise((1, 24, 9, 10), (24, 1, 7, 7), padding=3),
    "one_channel": Depthwise((2, 1, 9, 9), (1, 1, 3, 3), padding=1),
    "three_channels": Depthwise((2, 3, 7, 8), (3, 1, 3, 3), padding=1),
    "channels_not_a_vector_multiple": Depthwise((1, 17, 5, 5), (17, 1, 3, 3), padding=1),
    "channels_one_more_than_two_vectors": Depthwise((1, 33, 4, 6), (33, 1, 3, 3), padding=1),
    "multiplier_2": Depthwise((2, 6, 7, 6), (12, 1, 3, 3), padding=1),
    "multiplier_3_odd": Depthwise((1, 5, 8, 7), (15, 1, 3, 2), stride=2),
    "multiplier_on_one_channel": Depthwise((2, 1, 8, 7), (20, 1, 3, 3), padding=1),
    "stride_leaves_a_remainder": Depthwise((1, 16, 8, 11), (16, 1, 3, 3), stride=(3, 2), padding=1),
    "stride_exceeds_kernel": Depthwise((1, 8, 13, 11), (8, 1, 2, 2), stride=(4, 5)),
    "image_one_wide": Depthwise((2, 8, 9, 1), (8, 1, 3, 3), padding=1),
    "image_one_high": Depthwise((2, 8, 1, 9), (8, 1, 3, 3), padding=1),
    "dilation_reaches_past_both_edges": Depthwise((1, 8, 6, 7), (8, 1, 3, 5), padding=(4, 8), dilation=(5, 4)),
    "dilated_strided": Depthwise((1, 9, 14, 13), (9, 1, 3, 3), stride=2, padding=2, dilation=2),
    "kernel_exceeds_image_within_padding": Depthwise((1, 8, 3, 2), (8, 1, 5, 5), padding=2),
    "asymmetric_padding": Depthwise((2, 10, 7, 8), (10, 1, 3, 3), stride=2, padding=((0, 1), (0, 1))),
    "same_stride_2": Depthwise((1, 8, 8, 9), (8, 1, 3, 3), stride=2, padding="same"),
    "pointwise_scales_channels": Depthwise((2, 19, 5, 4), (19, 1, 1, 1)),
    "row_wider_than_every_tile": Depthwise((1, 5, 3, 131), (5, 1, 3, 3), padding=1),
    "batch_0": Depthwise((0, 8, 6, 6), (8, 1, 3, 3), padding=1),
}

SEPARABLE = {
    "xception": Separable((1, 32, 9, 8), (32, 1, 3, 3), padding=1, out_channels=48),
    "channels_728": Separable((1, 728, 4, 5), (728, 1, 3, 3), padding=1, out_channels=20),
    "odd_channels": Separable((2, 17, 7, 5), (17, 1, 3, 3), padding=1, out_channels=19),
    "rgb_stem": Separable((2, 3, 11, 9), (3, 1, 5, 5), stride=2, padding=2, out_channels=10),
    "multiplier_2": Separable((2, 6, 7, 8), (12, 1, 3, 3), padding=1, out_channels=9),
    "same_stride_2": Separable((1, 8, 8, 7), (8, 1, 3, 3), stride=2, padding="same", out_channels=16),
    "dilated": Separable((1, 8, 11, 10), (8, 1, 3, 3), padding=3, dilation=3, out_channels=5),
    "one_channel_in_and_out": Separable((2, 1, 6, 5), (1, 1, 3, 3), out_channels=1),
    "image_one_wide": Separable((1, 4, 8, 1), (4, 1, 3, 3), padding=1, out_channels=6),
    "batch_0": Separable((0, 4, 6, 6), (4, 1, 3, 3), padding=1, out_channels=6),
}

CONV_TRANSPOSE2D = {
    "unet_k2_stride_2": ConvTranspose((2, 16, 5, 6), (16, 8, 2, 2), stride=2),
    "k3_stride_2_taps_overlap_unevenly": ConvTranspose((2, 6, 5, 4), (6, 7, 3, 3), stride=2),
    "k3_stride_2_doubles_the_image": ConvTranspose((1, 6, 5, 4), (6, 5, 3, 3), stride=2, padding=1, output_padding=1),
    "dcgan_k4_stride_2": ConvTranspose((2, 17, 4, 5), (17, 9, 4, 4), stride=2, padding=1),
    "fsrcnn_k9_stride_4": ConvTranspose((1, 12, 5, 4), (12, 1, 9, 9), stride=4, padding=3, output_padding=1),
    "stride_1_is_a_correlation": ConvTranspose((1, 5, 6, 7), (5, 4, 3, 3), padding=1),
    "stride_exceeds_kernel_leaves_gaps": ConvTranspose((2, 4, 4, 3), (4, 5, 2, 1), stride=(5, 3)),
    "stride_exceeds_kernel_with_output_padding": ConvTranspose(
        (1, 3, 3, 4), (3, 4, 2, 2), stride=4, output_padding=(3, 2)
    ),
    "output_padding_past_every_tap": ConvTranspose((1, 3, 3, 3), (3, 2, 1, 1), stride=3, output_padding=2),
    "output_padding_below_dilation": ConvTranspose((1, 3, 4, 4), (3, 2, 2, 2), stride=1, output_padding=2, dilation=3),
    "dilated": ConvTranspose((2, 4, 5, 4), (4, 3, 3, 3), stride=2, padding=2, dilation=2),
    "dilation_and_stride_coprime": ConvTranspose((1, 3, 5, 6), (3, 4, 3, 2), stride=(3, 2), dilation=(2, 3)),
    "dilation_a_multiple_of_stride": ConvTranspose((1, 3, 5, 6), (3, 4, 3, 2), stride=2, dilation=4),
    "groups": ConvTranspose((2, 12, 4, 5), (12, 3, 3, 3), stride=2, padding=1, groups=3),
    "depthwise": ConvTranspose((1, 9, 5, 4), (9, 1, 4, 4), stride=2, padding=1, groups=9),
    "one_channel": ConvTranspose((2, 1, 5, 4), (1, 1, 3, 3), stride=2),
    "rgb_output": ConvTranspose((1, 19, 4, 4), (19, 3, 4, 4), stride=2, padding=1),
    "channels_728": ConvTranspose((1, 728, 3, 2), (728, 5, 2, 2), stride=2),
    "pixel_to_kernel": ConvTranspose((2, 10, 1, 1), (10, 6, 4, 4)),
    "padding_crops_to_one_pixel": ConvTranspose((1, 3, 1, 1), (3, 4, 3, 3), padding=1),
    "padding_exceeds_kernel": ConvTranspose((1, 3, 6, 7), (3, 4, 2, 2), stride=2, padding=3),
    "image_one_wide": ConvTranspose((2, 4, 7, 1), (4, 3, 3, 3), stride=2, padding=1),
    "asymmetric_padding": ConvTranspose((1, 3, 5, 6), (3, 4, 3, 3), stride=2, padding=((0, 1), (2, 0))),
    "rectangular": ConvTranspose((2, 5, 4, 6), (5, 4, 2, 5), stride=(3, 2), padding=(0, 2), output_padding=(2, 1)),
    "same_k3_stride_2_crops_the_end": ConvTranspose((1, 4, 5, 6), (4, 3, 3, 3), stride=2, padding="same"),
    "same_k4_stride_2": ConvTranspose((1, 4, 5, 6), (4, 3, 4, 4), stride=2, padding="same"),
    "same_stride_exceeds_kernel": ConvTranspose((1, 4, 4, 5), (4, 3, 2, 1), stride=3, padding="same"),
    "same_dilated": ConvTranspose((1, 4, 4, 5), (4, 3, 3, 3), stride=2, padding="same", dilation=2),
    "valid_stride_exceeds_kernel": ConvTranspose((1, 4, 4, 5), (4, 3, 2, 1), stride=3, padding="valid"),
    "valid_by_name": ConvTranspose((1, 4, 4, 5), (4, 3, 3, 3), stride=2, padding="valid"),
    "batch_0": ConvTranspose((0, 4, 3, 3), (4, 5, 2, 2), stride=2),
}

CONV_TRANSPOSE1D = {
    "vocoder_k16_stride_8": ConvTranspose((1, 8, 12), (8, 4, 16), stride=8, padding=4),
    "k3_stride_2": ConvTranspose((2, 5, 9), (5, 6, 3), stride=2, padding=1, output_padding=1),
    "stride_exceeds_kernel": ConvTranspose((2, 3, 6), (3, 4, 2), stride=5, output_padding=4),
    "dilated": ConvTranspose((2, 3, 8), (3, 4, 3), stride=2, dilation=3),
    "groups": ConvTranspose((2, 6, 7), (6, 2, 4), stride=2, groups=3),
    "length_one": ConvTranspose((2, 3, 1), (3, 4, 5), padding=2),
    "same_stride_3": ConvTranspose((1, 3, 6), (3, 4, 5), stride=3, padding="same"),
    "batch_0": ConvTranspose((0, 3, 5), (3, 4, 2), stride=2),
}

POOL2D = {
    "halving": Pool((2, 17, 8, 8), 2),
    "resnet_stem": Pool((1, 16, 13, 14), 3, 2, 1),
    "overlapping_odd_sizes": Pool((2, 5, 9, 11), 3, 2),
    "one_channel": Pool((3, 1, 7, 9), 3, 1, 1),
    "three_channels": Pool((2, 3, 8, 7), 2, 2),
    "channels_728": Pool((1, 728, 6, 5), 3, 2, 1),
    "rectangular": Pool((2, 6, 9, 10), (2, 5), (3, 2), (1, 2)),
    "stride_exceeds_kernel": Pool((1, 4, 13, 12), 2, (5, 4)),
    "stride_1": Pool((1, 9, 6, 7), 3, 1),
    "image_one_wide": Pool((2, 4, 9, 1), (3, 1), (2, 1), (1, 0)),
    "image_one_wide_padded_kernel": Pool((2, 4, 9, 1), 3, 2, 1),
    "kernel_is_the_image": Pool((2, 8, 5, 4), (5, 4)),
    "kernel_exceeds_image_within_padding": Pool((1, 4, 3, 2), 4, 1, 2),
    "kernel_1_subsamples": Pool((1, 4, 7, 6), 1, 2),
    "ceil_mode_adds_a_window": Pool((1, 5, 8, 9), 3, 2, 0, ceil_mode=True),
    "ceil_mode_window_past_the_padding": Pool((1, 5, 7, 10), 3, (3, 4), 1, ceil_mode=True),
    "ceil_mode_window_would_start_outside": Pool((1, 5, 6, 9), 2, (3, 5), 1, ceil_mode=True),
    "asymmetric_padding": Pool((1, 6, 8, 9), 3, 2, ((0, 1), (1, 0))),
    "padding_exceeds_half_the_kernel": Pool((1, 5, 6, 7), 3, 1, ((2, 2), (2, 1))),  # only as (lo, hi) pairs
    "same_stride_2": Pool((2, 4, 8, 9), 3, 2, "same"),
    "same_stride_1_even_kernel": Pool((1, 4, 6, 7), 2, 1, "same"),
    "valid_by_name": Pool((1, 4, 6, 7), 3, 2, "valid"),
    "row_wider_than_every_tile": Pool((1, 2, 4, 131), 3, 2, 1),
    "batch_0": Pool((0, 3, 8, 8), 2),
}

MAX_POOL2D = POOL2D | {
    "dilated": Pool((1, 8, 11, 12), 3, 2, 1, dilation=2),
    "dilation_reaches_past_both_edges": Pool((1, 8, 5, 6), 3, 1, ((4, 4), (4, 4)), dilation=4),
    "dilated_rectangular_ceil_mode": Pool((2, 3, 12, 11), (3, 2), (2, 3), 1, (3, 4), ceil_mode=True),
}

POOL1D = {
    "halving": Pool((2, 17, 16), 2),
    "overlapping": Pool((2, 5, 21), 5, 3, 2),
    "ceil_mode": Pool((1, 4, 14), 4, 3, 1, ceil_mode=True),
    "length_one": Pool((2, 3, 1), 1),
    "stride_exceeds_kernel": Pool((1, 6, 25), 3, 7),
    "batch_0": Pool((0, 3, 8), 2),
}

ADAPTIVE2D = {  # x, output size
    "halves_evenly": ((2, 17, 8, 6), (4, 3)),
    "windows_overlap": ((1, 5, 7, 10), (3, 4)),
    "upsamples": ((1, 4, 3, 2), (7, 5)),
    "global": ((2, 9, 5, 4), 1),
    "identity": ((1, 3, 4, 5), (4, 5)),
    "one_axis_kept": ((1, 6, 5, 7), (None, 3)),
    "prime_sizes": ((1, 3, 13, 11), (5, 7)),
    "channels_728": ((1, 728, 5, 4), (2, 3)),
    "batch_0": ((0, 3, 5, 5), 2),
}

ADAPTIVE1D = {
    "windows_overlap": ((2, 5, 11), 4),
    "global": ((2, 9, 7), 1),
    "upsamples": ((1, 3, 3), 8),
    "batch_0": ((0, 3, 5), 2),
}

BATCH_NORM = {  # shapes of x
    "vector_features": (7, 5),
    "sequence": (3, 17, 11),
    "image": (2, 32, 6, 7),
    "odd_channels": (2, 17, 5, 3),
    "one_channel": (4, 1, 5, 6),
    "channels_728": (2, 728, 3, 4),
    "one_pixel": (9, 6, 1, 1),
    "volume": (2, 4, 3, 4, 5),
    "batch_1": (1, 8, 6, 6),
}

LINEAR = {  # x, out features
    "classifier": ((4, 64), 10),
    "odd": ((3, 17), 19),
    "one_row": ((1, 100), 33),
    "vector": ((12,), 7),
    "one_feature_in": ((5, 1), 6),
    "one_feature_out": ((5, 23), 1),
    "sequence": ((2, 3, 9), 8),
    "deep": ((2, 728), 9),
    "batch_0": ((0, 8), 5),
}

RESAMPLE2D = {  # x, then the size or scale arguments
    "doubles": ((2, 3, 5, 6), {"scale_factor": 2}),
    "odd_size_up": ((1, 17, 5, 4), {"size": (11, 9)}),
    "halves": ((1, 4, 8, 10), {"scale_factor": 0.5}),
    "odd_size_down": ((2, 3, 11, 9), {"size": (4, 7)}),
    "to_one_pixel": ((1, 3, 5, 4), {"size": (1, 1)}),
    "from_one_pixel": ((1, 3, 1, 1), {"size": (4, 3)}),
    "identity": ((1, 5, 4, 6), {"size": (4, 6)}),
    "fractional_scale": ((1, 3, 6, 7), {"scale_factor": 1.7}),
    "fractional_scale_recomputed": ((1, 3, 6, 7), {"scale_factor": 1.7, "recompute_scale_factor": True}),
    "scale_per_axis": ((1, 3, 6, 5), {"scale_factor": (2.5, 0.6)}),
    "image_one_wide": ((1, 2, 7, 1), {"size": (10, 3)}),
    "channels_728": ((1, 728, 3, 2), {"scale_factor": 2}),
    "batch_0": ((0, 3, 4, 4), {"scale_factor": 2}),
}

RESAMPLE1D = {
    "doubles": ((2, 3, 5), {"scale_factor": 2}),
    "odd_size": ((1, 4, 9), {"size": 5}),
    "one_sample": ((1, 4, 1), {"size": 3}),
}

PAD = {  # x, padding (last axis first), mode
    "constant_all_sides": ((2, 3, 4, 5), (1, 2, 3, 0), "constant"),
    "constant_crops": ((2, 3, 6, 7), (-1, 2, 0, -3), "constant"),
    "constant_channels_and_batch": ((2, 3, 4, 5), (0, 1, 2, 0, 1, 1, 0, 2), "constant"),
    "constant_one_axis": ((5,), (2, 3), "constant"),
    "reflect": ((2, 3, 4, 5), (4, 2, 1, 3), "reflect"),
    "reflect_1d": ((2, 3, 6), (5, 1), "reflect"),
    "replicate": ((2, 3, 4, 5), (6, 2, 1, 9), "replicate"),
    "replicate_1d": ((2, 3, 4), (0, 7), "replicate"),
    "circular": ((2, 3, 4, 5), (5, 2, 1, 4), "circular"),
    "circular_1d": ((2, 3, 4), (4, 1), "circular"),
    "reflect_one_side_crop_the_other": ((1, 3, 4, 4), (-1, 1, -2, 1), "reflect"),
    "replicate_one_side_crop_the_other": ((2, 3, 5, 5), (8, -1, -1, -3), "replicate"),
    "reflect_shows_a_cropped_pixel": ((1, 2, 3, 5), (-2, 4, 0, 0), "reflect"),
    "replicate_crops_the_whole_image_and_grows": ((2, 3, 4, 4), (-4, 5, 2, -4), "replicate"),
    "circular_one_side_crop_the_other": ((1, 3, 4, 4), (-1, 1, -2, 1), "circular"),
    "nothing": ((1, 2, 3, 3), (0, 0, 0, 0), "constant"),
}

PIXEL_SHUFFLE = {  # x, upscale factor
    "espcn_x2": ((2, 12, 5, 4), 2),
    "x3": ((1, 9, 3, 4), 3),
    "x1_is_the_identity": ((1, 3, 4, 5), 1),
    "one_pixel": ((2, 16, 1, 1), 4),
    "batch_0": ((0, 4, 3, 3), 2),
}
