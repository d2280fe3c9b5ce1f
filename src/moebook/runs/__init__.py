"""What a run is (record), where runs live (store), and the table made of them.

>>> from moebook.runs import Store, load_table
>>> table = load_table("runs")          # a pandas DataFrame, one row a run
>>> Store("runs").check()               # [] unless a file is damaged
"""

from moebook.runs.index import read_rows
from moebook.runs.items import pack_items, read_items
from moebook.runs.record import FORMAT, Record, run_key
from moebook.runs.sound import STATUSES
from moebook.runs.store import Problem, Store
from moebook.runs.table import COLUMNS, SCORE_COLUMNS, frame, load_table, row, rows

__all__ = [
    "COLUMNS", "FORMAT", "SCORE_COLUMNS", "STATUSES", "Problem", "Record", "Store", "frame", "load_table",
    "pack_items", "read_items", "read_rows", "row", "rows", "run_key",
]  # fmt: skip
