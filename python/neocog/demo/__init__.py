"""The demo: a small super-resolution network enlarges a photograph that it never saw.

`network` is the network on `neocog.ops`, `torch_network` the same on PyTorch, `enlarge` colour and tiles,
`images` the photographs, `measure` decibels and seconds, `picture` the drawing, `run` all of it. Apart from
`torch_network` and `picture`, nothing is imported that NumPy does not bring until it is used.
"""
