"""Networks of the literature as plain `torch.nn` modules, one file per paper. Needs the `torch` extra.

>>> import neocog.models
>>> model = neocog.models.create_model("resnet18", num_classes=10)

All of them return logits: softmax, or a sigmoid where there is one class, belongs to the loss or to the caller. They
know nothing of our kernels; `neocog.torch.patch()`, `neocog.nn.convert` and `neocog.compile` bring those to any model.
"""

from __future__ import annotations

from neocog.models.audio import m3 as m3
from neocog.models.audio import m5 as m5
from neocog.models.audio import m11 as m11
from neocog.models.audio import m18 as m18
from neocog.models.autoencoder import strided_autoencoder as strided_autoencoder
from neocog.models.mini_xception import mini_xception as mini_xception
from neocog.models.registry import create_model as create_model
from neocog.models.registry import list_models as list_models
from neocog.models.resnet import resnet18 as resnet18
from neocog.models.resnet import resnet50 as resnet50
from neocog.models.unet import unet as unet
from neocog.models.xception import xception as xception
