"""The queries held out say what the chosen index is good for.

The settings of its ladder are tested from great effort down to small: each has to show,
by a lower bound of its mean recall, that it meets the target. The first that fails ends
it, and the one before is taken. Though many are tested the risk stays that of one
test: for a bad setting to be taken, the first bad one in that fixed order has to pass
(fixed-sequence testing: Angelopoulos, Bates, Candès, Jordan & Lei, "Learn then Test",
2021, Sec. 3). Where the order starts, and what the gambler stakes, the choosing queries
said; those held out had no part in it.
"""

from typing import NamedTuple

from ann.index import Index
from ann.tuning import betting
from ann.tuning.bench import Truth
from ann.tuning.candidates import EXACT, Setting
from ann.tuning.contest import STRIDE, Entry
from ann.tuning.wish import Wish


class Verdict(NamedTuple):
    """A setting that was shown to meet the target."""

    chosen: Index
    setting: Setting
    recall: float  #: mean over the queries held out
    lower: float  #: its lower bound
    tests: int  #: settings that were tested


def verdict(
    entry: Entry, choosers: Truth, judges: Truth, asked: Wish
) -> Verdict | None:
    """Return the setting of least effort that is shown to do; None for none."""
    index, found = entry.index, None
    if index is None:
        return None
    if entry.candidate == EXACT:
        return Verdict(index, {}, 1.0, 1.0, 0)
    start = min(entry.rung + STRIDE, len(entry.ladder) - 1)
    for tests, rung in enumerate(range(start, -1, -1), start=1):
        setting = entry.ladder[rung]
        share = betting.share(choosers.recall(index, setting), asked.target)
        values = judges.recall(index, setting)
        lower = betting.lower(values, asked.confidence, share)
        if lower < asked.target:
            return found and found._replace(tests=tests)
        found = Verdict(index, setting, float(values.mean()), lower, tests)
    return found
