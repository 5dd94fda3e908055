"""The demo: a small super-resolution network enlarges a photograph that it never saw."""
