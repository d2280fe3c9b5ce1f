"""What a study costs by its plan: disk as the committed runs take it, the whole beside what is missing."""

from pathlib import Path

import pytest

from moebook.runs import Store
from moebook.runs.items import items_path
from moebook.study import disk_bytes, plan, read_study
from moebook.train import TextIdentity

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["cpu-english", "quick"])
def test_the_disk_is_what_the_committed_runs_take(name):
    study, store = read_study(ROOT / "studies" / f"{name}.yml"), Store(ROOT / "runs")
    sha256 = {record.text: record.config["text"]["sha256"] for record in store.load()}[study.text.name]
    trunks = plan(study, TextIdentity(study.text.name, sha256))
    stored = [store.get(cell.key) for trunk in trunks for cell in trunk.cells]
    real = sum(store.path(record).stat().st_size for record in stored)
    tasks = study.scores.tasks if study.scores else ()
    if tasks:
        real += sum(items_path(store.root, record).stat().st_size for record in stored)
    said, _ = disk_bytes(trunks, 2, tasks)
    assert 1 / 1.25 < said / real < 1.25
