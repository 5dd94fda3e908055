"""Measurements: `python -m bench ops` and `python -m bench limits`; see README.md beside this file."""
