"""What nearest neighbours are good for: short examples, each with a figure.

A use is one command, ``ann use NAME``, and one file here that reads from top to bottom:
the data, the index, the trick, the figure. All data ship with Python or with what this
package is installed with. ``use`` does what they have in common.
"""
