"""Whole networks as one call: graphs, the passes that rewrite them, and the plans that run them."""
