"""What the book says of runs set aside, of how experts are cut, and of forecasts written beforehand."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from moebook.book import contents
from moebook.book.contents import asides, forecasts
from moebook.runs import Record, Store, load_table

CUTS = {(1, 1, 0): 0.03, (4, 4, 0): 0.01, (2, 1, 1): 0.02}


@pytest.fixture
def store(tmp_path, make_records, monkeypatch):
    """Made-up runs, some again with experts cut otherwise: worse by CUTS, and by .001 more for odd seeds."""
    root = tmp_path / "runs"
    for record in make_records(root):
        if record.done and record.model["width"] == 24 and record.measures["compute_flops"] > 2e11:
            for (granularity, active, shared), worse in CUTS.items():
                model = dict(record.model) | {"granularity": granularity, "active": active,
                                              "shared_experts": shared}  # fmt: skip
                loss = record.measures["loss_nats"] + worse + 0.001 * (record.seed % 2)
                measures = dict(record.measures) | {"loss_nats": loss}
                config = dict(record.config) | {"model": model}
                if record.measures["sparsity"] > 0:
                    Store(root).add(Record(config, 1, "done", measures, study="cut", purpose="granularity",
                                           cost=record.cost))  # fmt: skip
    monkeypatch.setenv("MOEBOOK_RUNS", str(root))
    forecasts.judged.cache_clear()
    yield root
    forecasts.judged.cache_clear()


def test_runs_set_aside_are_counted_by_what_they_were_made_for(store):
    words = contents.purposes(load_table(store))
    cells = 2 * 2 * len(CUTS)
    assert words.startswith(f"{cells} runs are set aside") and "to compare whole experts" in words
    aside = next(r for r in Store(store).load() if r.purpose)
    config = dict(aside.config) | {"seed": 77}
    Store(store).add(replace(aside, config=config, purpose="trial"))
    assert "and 1 for trial." in contents.purposes(load_table(store))
    plain = load_table(store)
    assert "Every run is one of the study" in contents.purposes(plain[plain["purpose"] == ""])


def test_cuts_are_compared_in_the_same_cells_with_the_study_s_own(store):
    runs = asides.granularity_runs(load_table(store))
    assert set(runs["cut"]) == {"2 halves", "1 whole", "4 quarters", "1 halves and 1 shared"}
    assert len(runs) == 2 * 2 * 4 and set(runs["width"]) == {24}
    words = contents.granularity_in_words(load_table(store))
    assert "over 4 cells and seeds, 2 halves have the lowest mean loss and 1 whole the highest" in words
    gap = np.array([0.03, 0.031, 0.03, 0.031])
    assert f"{gap.mean():.3f} ± {gap.std(ddof=1) / 2:.3f} nats, more than twice" in words
    shown = str(contents.granularity_table(load_table(store)))
    for (sparsity, cut), part in runs.groupby(["sparsity", "cut"]):
        assert f"{part['loss_nats'].mean():.3f} ±" in shown, (sparsity, cut)


def test_a_table_without_other_cuts_says_so(store):
    table = load_table(store)
    plain = table[table["purpose"] == ""]
    assert str(contents.granularity_table(plain)) == ""
    assert "No run of this table" in contents.granularity_in_words(plain)


def test_a_written_forecast_waits_for_its_runs_and_is_judged_by_them(store):
    table = load_table(store)
    made = table[(table["status"] == "done") & (table["compute_flops"] > 2e11)].iloc[:6]
    rows = []
    for level, half in ((0.5, 0.01), (0.9, 0.03)):
        for i, (_, run) in enumerate(made.iterrows()):
            median = run["loss_nats"] - (0.02 if i < 2 else 0.0)
            rows.append(
                {"row": i + 1, "key": run["key"], "params": run["params"], "sparsity": run["sparsity"],
                 "compute_flops": run["compute_flops"], "interval": level, "run_low_nats": median - half,
                 "run_median_nats": median, "run_high_nats": median + half, "posterior": "ab" * 32}
            )  # fmt: skip
    folder = store / "forecasts"
    folder.mkdir()
    said = pd.DataFrame(rows)
    said.to_csv(folder / "made.csv", index=False)
    said.assign(key=[f"{key[:-1]}-" for key in said["key"]]).to_csv(folder / "waits.csv", index=False)
    made_file, waits = contents.written_forecasts()
    words = contents.forecast_before_in_words(made_file)
    assert "6 runs at 3·10¹¹ FLOPs" in words and "posterior `abababab`" in words
    assert "Made since: 6. Of these, 4 in their 50 % intervals and 6 in their 90 % intervals" in words
    assert f"came out {0.04 / 6:.3f} nats above the median" in words
    assert "None of the runs is made yet" in contents.forecast_before_in_words(waits)
    for path in (made_file, waits):
        assert "<svg" in str(contents.forecast_before_figure(path))


def test_committed_forecasts_are_older_than_their_runs_and_unchanged():
    """The checksums are written beside them; a forecast of runs that exist already would be none."""
    from moebook.book.paths import project_root
    from moebook.files import sha256_hex

    folder = project_root() / "runs" / "forecasts"
    stored = json.loads((folder / "checksums.json").read_text())
    assert set(stored) == {path.name for path in folder.glob("*.csv")}
    records = {record.key: record for record in Store(project_root() / "runs").load()}
    for name, entry in stored.items():
        assert sha256_hex((folder / name).read_bytes()) == entry["sha256"], name
        said = pd.read_csv(folder / name, dtype={"key": str})
        for key in set(said["key"]) & set(records):
            assert records[key].finished > entry["written"], (name, key)
