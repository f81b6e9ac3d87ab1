"""Approximate nearest neighbour search, compiled by Numba."""
