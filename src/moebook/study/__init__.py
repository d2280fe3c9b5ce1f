"""Many runs: a study as written down, planned before it is run, executed on this machine.

>>> study = read_study("studies/quick.yml")
>>> trunks = plan(study, text_identity(study))
>>> sum(len(trunk.cells) for trunk in trunks)       # runs
"""

from moebook.study.estimate import Rates, cell_seconds, disk_bytes, makespan_seconds
from moebook.study.execute import State, default_workers, run_trunks
from moebook.study.plan import Cell, Trunk, cells_of, missing, plan, select
from moebook.study.spec import Block, Study, find_study, read_study
from moebook.study.worker import Job

__all__ = [
    "Block", "Cell", "Job", "Rates", "State", "Study", "Trunk", "cell_seconds", "cells_of", "default_workers",
    "disk_bytes", "find_study", "makespan_seconds", "missing", "plan", "read_study", "run_trunks", "select",
]  # fmt: skip
