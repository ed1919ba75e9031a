"""The shared language of `orch`: both ends of the wire, and all that happens in a run folder on a host.

Standard library only, Python 3.9 or newer: this package is zipped and sent to hosts on which nothing is installed.
"""

from __future__ import annotations

__version__ = "0.1.0"
CONTRACT = 1  # version of the run folder; a reader refuses a newer one
PROTOCOL = 2  # of what laptop, agent, keeper and watcher share on a host: `protocol`
READS = (1, 2)  # the numbers of keepers with which this orch works
