"""What near means, taught by measuring: metrics, dimension, and fewer columns.

A lesson is one command, ``ann lesson metrics``, ``dimension`` or ``reduce``: its parts
are functions that turn sets of vectors (``sets``) into lines of CSV files, from which
alone its figures are drawn. ``lesson`` does what all have in common.
"""
