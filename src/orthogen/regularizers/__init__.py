"""Penalties: one method, one file, one paper."""
