"""What an index is worth when it is used: changed, filtered, given unkind data.

Three studies, of which the table in a config names one: ``churn`` removes and adds
again, ``filters`` searches among some of the vectors, ``hostile`` builds on data that
is no random sample. Each index lives in a process of its own; the lines of a study are
a CSV file, from which its table and its figures are made.
"""

from experiments.trust.study import make, read, run, steps
from experiments.trust.telling import draw, tables

__all__ = ["draw", "make", "read", "run", "steps", "tables"]
