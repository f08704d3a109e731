"""Environments outside JAX, driven in batches."""
