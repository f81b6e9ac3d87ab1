"""Choosing an index by measuring: :func:`ann.tune` and what it tells.

==============  ======================================================================
``wish``        what is asked for, checked
``candidates``  which indexes are tried, and which settings each is searched with
``bench``       recall of answers, latency of lone queries, the budget's clock
``contest``     indexes are built, and the queries that choose pick one
``verdict``     the queries held out say what it is good for
``betting``     how they can be sure
``choosing``      all of it, one after the other
``letter``      what is told of it
==============  ======================================================================
"""

from ann.tuning.choosing import tune
from ann.tuning.letter import Tried, Tuned
from ann.tuning.wish import UnreachableError

__all__ = ["Tried", "Tuned", "UnreachableError", "tune"]
