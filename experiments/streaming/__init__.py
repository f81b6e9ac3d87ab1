"""Indexes under insertion and deletion, step by step, by the runbooks of big-ann.

``runbook`` reads the steps, ``live`` knows which vectors there are after each and what
their exact neighbours are, ``updatable`` drives the libraries, ``tagged`` gives vectors
names that can be taken back, ``bench`` measures in a process of its own, ``play`` puts
it together, and ``choice`` finds what a command means.
"""

from experiments.streaming.choice import config, runbooks
from experiments.streaming.play import run
from experiments.streaming.table import tables

__all__ = ["config", "run", "runbooks", "tables"]
