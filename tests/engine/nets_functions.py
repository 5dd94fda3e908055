"""Functions that networks call, by subject: each of one image x of shape (N, 6, H, W)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Functions = dict[str, Callable[[Tensor], Tensor]]


class Each(nn.Module):
    """All functions of a subject on the same image."""

    def __init__(self, functions: Functions) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: Tensor) -> list[Tensor]:
        return [function(x) for function in self.functions.values()]


ACTIVATIONS: Functions = {
    **{
        name: getattr(F, name)
        for name in (
            *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish"),
            *(
                "hardsigmoid",
                "hardtanh",
                "softplus",
                "softsign",
                "logsigmoid",
                "hardshrink",
                "softshrink",
                "tanhshrink",
            ),
        )
    },
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu_of_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "leaky_relu_slope": lambda x: F.leaky_relu(x, 0.3),
    "elu_alpha": lambda x: F.elu(x, 0.5),
    "celu_alpha": lambda x: F.celu(x, 0.7),
    "softplus_beta": lambda x: F.softplus(x, beta=2.0),
    "hardtanh_bounds": lambda x: F.hardtanh(x, -0.5, 2.0),
    "threshold": lambda x: F.threshold(x, 0.2, -1.0),
    "glu": lambda x: F.glu(x, dim=1),
    "softmax": lambda x: F.softmax(x, dim=1),
    "softmin": lambda x: F.softmin(x, dim=-1),
    "log_softmax": lambda x: F.log_softmax(x, dim=3),
    "prelu_one": lambda x: F.prelu(x, torch.full((1,), 0.25, dtype=x.dtype)),
    "rrelu_in_evaluation": lambda x: F.rrelu(x),
    "relu_in_place": lambda x: F.relu_(x * 1),
}

ARITHMETIC: Functions = {
    "scalars": lambda x: (3 - x) * 2 + x / 4 - 1,
    "alpha": lambda x: torch.add(x, x.abs(), alpha=0.5) - torch.sub(x, 1.5, alpha=2),
    "over_x": lambda x: 1 / (x + 20),
    "powers": lambda x: x**2 + x**3 + (x.abs() + 1) ** -0.5 + (x.abs() + 1) ** 0.5 + (x.abs() + 1) ** 1.7,
    "base": lambda x: 2**x,
    "between": lambda x: torch.maximum(x, -x) + torch.minimum(x, x.mean()),
    "clamps": lambda x: x.clamp(-1, 1) + x.clamp(min=0.5) + x.clamp_max(0.25) + torch.clamp(x, x.amin(), x.mean()),
    "rounded": lambda x: x.floor() + x.ceil() + x.round() + torch.div(x, 0.5, rounding_mode="floor"),
    "modulo": lambda x: torch.remainder(x, 0.75),
    "roots": lambda x: x.abs().sqrt() + (x.abs() + 1).rsqrt() + (x.abs() + 1).reciprocal() + x.sign() * x.square(),
    "exponentials": lambda x: x.exp() + (x.abs() + 1).log() + x.erf(),
    "trigonometry": lambda x: x.sin() + x.cos() + torch.atan(x) + torch.sinh(x / 4) + torch.tanh(x),
    "fused": lambda x: torch.addcmul(x, x, x, value=0.5) + torch.lerp(x, -x, 0.25) + torch.addcdiv(x, x, x.abs() + 1),
    "in_place": lambda x: (x * 2).add_(1).mul_(3).clamp_(min=0),
    "size_as_number": lambda x: x / x.shape[2] + x.shape[3],
    "size_of_all": lambda x: x.sum() / x.numel(),
    "conversions": lambda x: x.to(x.dtype).type_as(x).contiguous().clone().detach(),
}

REDUCTIONS: Functions = {
    "mean": lambda x: x.mean(),
    "mean_axes": lambda x: x.mean((2, 3), keepdim=True),
    "mean_channels": lambda x: x.mean(1),
    "sum": lambda x: x.sum(-1) + x.sum(dim=(3,)),
    "sum_of_all": lambda x: x.sum(),
    "prod": lambda x: x[:, :, :2, :2].prod(3),
    "max_values": lambda x: x.max(1, keepdim=True)[0] + x.min(dim=1, keepdim=True).values,
    "max_of_all": lambda x: x.max() - x.min(),
    "extremes": lambda x: x.amax((1, 2)) - x.amin((1, 2)),
    "var": lambda x: x.var((2, 3)) + x.var(dim=(2, 3), unbiased=False),
    "var_of_channels": lambda x: x.var(1, keepdim=True),
    "std": lambda x: x.std(dim=(1, 2, 3)),
    "var_mean": lambda x: torch.cat(torch.var_mean(x, dim=1, correction=0)),
    "norms": lambda x: x.norm(dim=1) + x.norm(p=1, dim=1) + torch.linalg.vector_norm(x, ord=float("inf"), dim=1),
    "normalised": lambda x: F.normalize(x, dim=1),
    "logsumexp": lambda x: x.logsumexp((2, 3)),
    "cosine": lambda x: F.cosine_similarity(x[:, :3], x[:, 3:], dim=1),
    "rms": lambda x: F.rms_norm(x.permute(0, 2, 3, 1), (6,)),
    "norm_of_the_batch": lambda x: F.batch_norm(x, None, None, training=True),
}

RESIZES: Functions = {
    **{
        f"{mode}_{scale}": lambda x, mode=mode, scale=scale: F.interpolate(x, scale_factor=scale, mode=mode)
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic")
        for scale in (2, 0.5, 1.7)
    },
    "bilinear_corners": lambda x: F.interpolate(x, scale_factor=2.5, mode="bilinear", align_corners=True),
    "bicubic_corners": lambda x: F.interpolate(x, size=(7, 20), mode="bicubic", align_corners=True),
    "nearest_size": lambda x: F.interpolate(x, size=(5, 23)),
    "bilinear_size": lambda x: F.interpolate(x, size=(1, 30), mode="bilinear"),
    "antialiased": lambda x: F.interpolate(x, size=(4, 5), mode="bilinear", antialias=True),
    "antialiased_bicubic": lambda x: F.interpolate(x, scale_factor=0.6, mode="bicubic", antialias=True),
    "antialiased_larger": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic", antialias=True),
    "by_axis": lambda x: F.interpolate(x, scale_factor=(2, 3), mode="nearest"),
    "recomputed": lambda x: F.interpolate(x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=True),
    "size_of_half": lambda x: F.interpolate(x, size=(x.shape[2] // 2, x.shape[3] // 2), mode="bilinear"),
    "line_nearest": lambda x: F.interpolate(x.flatten(2), scale_factor=2),
    "line_linear": lambda x: F.interpolate(x.flatten(2), scale_factor=1.5, mode="linear"),
    "pixel_shuffle": lambda x: F.pixel_shuffle(torch.cat([x, x], 1), 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x[:, :, :8, :6], 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 3),
}

PADS: Functions = {
    "constant": lambda x: F.pad(x, (1, 2, 3, 0), value=0.5),
    "crop": lambda x: F.pad(x, (-1, 2, -2, -1)),
    "one_axis": lambda x: F.pad(x, (0, 3)),
    "channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)),
    "reflect": lambda x: F.pad(x, (1, 2, 3, 1), mode="reflect"),
    "replicate": lambda x: F.pad(x, (1, 2, 3, 1), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 2, 3, 1), mode="circular"),
    "line": lambda x: F.pad(x.flatten(2), (4, 2), mode="reflect"),
    "to_a_multiple": lambda x: F.pad(x, (0, -x.shape[3] % 8, 0, -x.shape[2] % 8)),
    "to_a_square": lambda x: F.pad(x, (0, torch.sym_max(x.shape[2] - x.shape[3], 0), 0, 0)),
}

SHAPES: Functions = {
    "views": lambda x: x.view(x.shape[0], 2, 3, -1).transpose(1, 2).reshape(x.shape[0], 6, x.shape[2], x.shape[3]),
    "flattened": lambda x: x.flatten(1, 2).unflatten(1, (6, -1)),
    "moved": lambda x: x.movedim(1, -1).swapaxes(1, 2) + x.permute(0, 3, 2, 1),
    "squeezed": lambda x: x.unsqueeze(1).unsqueeze(-1).squeeze(-1).squeeze(1),
    "expanded": lambda x: x[:, :1].expand(-1, 4, -1, -1) + x[:, :4],
    "expanded_as": lambda x: x.mean((2, 3), keepdim=True).expand_as(x) * x,
    "repeated": lambda x: x.repeat(1, 2, 1, 3),
    "repeated_more": lambda x: x.repeat(2, 1, 1, 1, 1),
    "interleaved": lambda x: x.repeat_interleave(2, dim=2),
    "sliced": lambda x: x[:, 1:-1, ::2, 3:][:, :, :, :-2],
    "selected": lambda x: x[:, 0] + x[:, -1] + x.select(1, 2),
    "last_pixel": lambda x: x[..., -1, -1],
    "half": lambda x: x[:, :, : x.shape[2] // 2, x.shape[3] // 2 :],
    "narrowed": lambda x: x.narrow(1, 2, 3),
    "split": lambda x: torch.cat([p * (n + 1) for n, p in enumerate(torch.split(x, [1, 2, 3], 1))], 1),
    "split_evenly": lambda x: torch.cat([p * (n + 1) for n, p in enumerate(x.split(4, 1))], 1),
    "chunks": lambda x: torch.stack([p.sum(1) for p in x.chunk(4, 1)], 1),
    "unbound": lambda x: torch.stack(x.unbind(1)[::-1], dim=-1),
    "stacked": lambda x: torch.stack([x, -x], 2).flatten(1, 2),
    "flipped": lambda x: x.flip(2, 3) + x.flip(-1),
    "rolled": lambda x: torch.roll(x, (1, -2), (2, 3)),
    "chosen": lambda x: x[:, [3, 0, 5]] + x.index_select(1, torch.tensor([1, 1, 2])),
    "pixels_chosen": lambda x: x[:, :, torch.tensor([0, 2, 1])[:, None], torch.tensor([1, 0])],
    "zeros_joined": lambda x: torch.cat([x, torch.zeros_like(x[:, :1]), x.new_ones(x.shape[0], 1, *x.shape[2:])], 1),
    "filled": lambda x: x + torch.full((x.shape[2], 1), 0.5, dtype=x.dtype),
    "coordinates": lambda x: x * torch.arange(x.shape[3], dtype=x.dtype) + torch.arange(x.shape[2])[:, None],
    "masked": lambda x: x + torch.where(torch.arange(6) % 2 == 0, 1.0, 0.0).to(x.dtype).view(1, -1, 1, 1),
    "products": lambda x: torch.matmul(x, x.transpose(2, 3)) + torch.einsum("nchw,nckw->nchk", x, x),
    "a_matrix": lambda x: x.movedim(1, -1) @ torch.ones(6, 2, dtype=x.dtype),
    "windows": lambda x: x[:, :, :8, :8].reshape(-1, 6, 2, 4, 2, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, 6),
}

SUBJECTS: dict[str, Functions] = {
    "activations": ACTIVATIONS,
    "arithmetic": ARITHMETIC,
    "reductions": REDUCTIONS,
    "resizes": RESIZES,
    "pads": PADS,
    "shapes": SHAPES,
}
