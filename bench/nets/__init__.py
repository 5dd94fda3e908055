"""Whole networks in inference: `python -m bench nets`."""

# In the order of the columns; named here, as a command line must know them where PyTorch is absent.
NEOCOG = "neocog"
PEERS = ("torch", "torch.compile", "onnxruntime", "OpenVINO", "ncnn", "MNN")
