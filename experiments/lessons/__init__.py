"""What near means, taught by measuring: metrics, dimension, and what tuning is worth.

A lesson is one command, such as ``ann lesson metrics``: its parts
are functions that turn sets of vectors (``sets``) into lines of CSV files, from which
alone its figures are drawn. ``lesson`` does what both have in common.
"""
