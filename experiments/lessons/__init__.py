"""What near means, taught by measuring: metrics, dimension, and when a search may stop.

A lesson is one command, such as ``ann lesson metrics``: its parts are functions that
turn sets of vectors (``sets``) into lines of CSV files, from which alone its figures
are drawn. ``lesson`` does what all have in common.
"""
