"""Many runs: a study as written down, planned before it is run, executed on this machine or on a cluster.

>>> opened = open_study("quick")                    # studies/quick.yml, its text, what runs/ has of it
>>> opened.costs(workers=2).seconds                 # expected, for what is missing
"""

from moebook.study.display import Display
from moebook.study.estimate import Rates, cell_seconds, disk_bytes, makespan_seconds
from moebook.study.execute import run_trunks
from moebook.study.local import LocalPool, default_workers
from moebook.study.opened import Costs, Opened, Row, open_study
from moebook.study.plan import Cell, Trunk, cells_of, missing, plan, select
from moebook.study.spec import Block, Study, find_study, read_study
from moebook.study.state import State
from moebook.study.status import standing_of
from moebook.study.worker import Job

__all__ = [
    "Block", "Cell", "Costs", "Display", "Job", "LocalPool", "Opened", "Rates", "Row", "State", "Study",
    "Trunk", "cell_seconds", "cells_of", "default_workers", "disk_bytes", "find_study", "makespan_seconds",
    "missing", "open_study", "plan", "read_study", "run_trunks", "select", "standing_of",
]  # fmt: skip
