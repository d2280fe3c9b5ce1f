"""What the book says of runs set aside, of how experts are cut, and of forecasts written beforehand."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from moebook.book import contents
from moebook.book.contents import asides, forecasts
from moebook.errors import InputError
from moebook.files import sha256_hex
from moebook.runs import Record, Store, load_table

CUTS = {(1, 1, 0): (0.0303, 1.0), (4, 4, 0): (-0.01, 1.02), (2, 1, 1): (0.0203, 1.1), (2, 2, 1): (9.0, 1.3)}


@pytest.fixture
def store(tmp_path, make_records, monkeypatch):
    """Made-up runs, some again with experts cut otherwise: their losses differ by CUTS, and by .001 more for
    odd seeds, their sizes by a factor; the last is of no size of the study."""
    root = tmp_path / "runs"
    for record in make_records(root):
        if record.done and record.model["width"] == 24 and record.measures["compute_flops"] > 2e11:
            for (granularity, active, shared), (worse, factor) in CUTS.items():
                model = dict(record.model) | {"granularity": granularity, "active": active,
                                              "shared_experts": shared}  # fmt: skip
                loss = record.measures["loss_nats"] + worse + 0.001 * (record.seed % 2)
                params = int(record.measures["params"] * factor)
                measures = dict(record.measures) | {"loss_nats": loss, "params": params}
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


def test_cuts_are_compared_with_the_study_s_own_of_the_same_size(store):
    runs = asides.granularity_runs(load_table(store))
    assert set(runs["cut"]) == {"2 halves", "1 whole", "4 quarters", "1 half and 1 shared half"}
    assert len(runs) == 2 * 2 * 4 and set(runs["width"]) == {24} and set(runs["like"]) == {0.75, 0.9375}
    words = contents.granularity_in_words(load_table(store))
    half = 3.182446 * np.std([0, 0, 0.001, 0.001], ddof=1) / 2
    for cut, mean, verdict in (("1 whole", 0.0308, "worse"), ("1 half and 1 shared half", 0.0208, "worse")):
        assert f"- {cut}: {mean:+.3f} ± {half:.3f} nats in 4 pairs, {verdict}" in words
    assert "in 4 pairs, better" in words and words.count("pairs") == 3
    shown = str(contents.granularity_table(load_table(store)))
    for _, part in runs.groupby(["like", "cut"]):
        assert f"{part['loss_nats'].mean():.3f} ±" in shown and f">{int(part['experts'].iloc[0])}<" in shown


def test_a_difference_within_its_interval_is_none(store):
    table = load_table(store)
    rng = np.random.default_rng(0)
    table.loc[table["purpose"] == "granularity", "loss_nats"] += rng.normal(0, 0.5, sum(
        table["purpose"] == "granularity"))  # fmt: skip
    assert contents.granularity_in_words(table).count("a difference that these do not resolve") == 3


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
                 "compute_flops": run["compute_flops"], "compute_flops_beyond": run["compute_flops"] / 1e11,
                 "interval": level, "run_low_nats": median - half,
                 "run_median_nats": median, "run_high_nats": median + half, "posterior": "ab" * 32}
            )  # fmt: skip
    folder = store / "forecasts"
    folder.mkdir()
    said = pd.DataFrame(rows)
    said.to_csv(folder / "made.csv", index=False)
    said.assign(key=[f"{key[:-1]}-" for key in said["key"]]).to_csv(folder / "waits.csv", index=False)
    made_file, waits = folder / "made.csv", folder / "waits.csv"

    def note(written="2020-01-01T00:00:00+00:00"):
        files = made_file, waits
        noted = {f.name: {"written": written, "sha256": sha256_hex(f.read_bytes())} for f in files}
        (folder / "checksums.json").write_text(json.dumps(noted))

    note(written="2999-01-01T00:00:00+00:00")
    with pytest.raises(InputError, match="was made before its forecast was written"):
        contents.forecast_before_in_words(made_file)
    note()
    assert contents.written_forecasts() == [made_file, waits]
    words = contents.forecast_before_in_words(made_file)
    assert "6 runs at 3·10¹¹ FLOPs" in words
    assert "posterior `abababab` (fitted to runs of at most 10¹¹ FLOPs)" in words
    assert "Made since: 6. Of these, 4 in their 50 % intervals and 6 in their 90 % intervals" in words
    assert f"came out {0.04 / 6:.3f} nats above the median" in words
    assert "None of the runs is made yet" in contents.forecast_before_in_words(waits)
    short = contents.forecasts_in_short()
    assert short.endswith(
        "\n- 6 runs on Python source code at 3·10¹¹ FLOPs, 3 times beyond what had been fitted: 4 in their "
        "50 % intervals and 6 in their 90 % intervals."
    )
    together = contents.forecasts_together()
    assert "4 of 6 at 50 %; 6 of 6 at 90 %" in together and "wider" not in together
    for path in (made_file, waits):
        assert "<svg" in str(contents.forecast_before_figure(path))


def test_committed_forecasts_are_older_than_their_runs_and_unchanged():
    """The checksums are written beside them; a forecast of runs that exist already would be none."""
    from moebook.book.paths import project_root

    folder = project_root() / "runs" / "forecasts"
    stored = json.loads((folder / "checksums.json").read_text())
    assert set(stored) == {path.name for path in folder.glob("*.csv")}
    records = {record.key: record for record in Store(project_root() / "runs").load()}
    for name, entry in stored.items():
        assert sha256_hex((folder / name).read_bytes()) == entry["sha256"], name
        said = pd.read_csv(folder / name, dtype={"key": str})
        for key in set(said["key"]) & set(records):
            assert records[key].finished > entry["written"], (name, key)
