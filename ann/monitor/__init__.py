"""Watching an index at work: :class:`Monitor` and what it tells.

=================  ===================================================================
``live``           the monitor: what it takes from each search
``watcher``        the thread beside: it looks at that, and checks some
``truth``          an answer beside the exact one
``ledger``         all figures, without threads or clocks; its file
``following``      one kind of figure: learnt first, then held against what was learnt
``evidence``       when a mean has surely moved
``alerts``         what is said then
``exposition``     the figures in Prometheus' text format
``serving``        … and on a page, over HTTP
=================  ===================================================================
"""

from ann.monitor.alerts import Alert
from ann.monitor.ledger import Ledger, Report, Summary, opened
from ann.monitor.live import Monitor
from ann.monitor.settings import Settings

__all__ = ["Alert", "Ledger", "Monitor", "Report", "Settings", "Summary", "opened"]
