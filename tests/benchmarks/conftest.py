"""The package `benchmarks` is not installed: it lies at the root."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
