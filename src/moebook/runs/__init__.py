"""What a run is (record), where runs live (store), and the table made of them.

>>> from moebook.runs import Store, load_table
>>> table = load_table("runs")          # a pandas DataFrame, one row a run
>>> Store("runs").check()               # [] unless a file is damaged
"""

from moebook.runs.record import FORMAT, STATUSES, Record, run_key
from moebook.runs.store import Problem, Store
from moebook.runs.table import COLUMNS, load_table, row

__all__ = ["COLUMNS", "FORMAT", "STATUSES", "Problem", "Record", "Store", "load_table", "row", "run_key"]
