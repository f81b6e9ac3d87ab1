"""What near means, taught by measuring: metrics side by side, and dimension.

A lesson is one command, ``ann lesson metrics`` or ``ann lesson dimension``: its parts
are functions that turn sets of vectors (``sets``) into lines of CSV files, from which
alone its figures are drawn. ``lesson`` does what both have in common.
"""
