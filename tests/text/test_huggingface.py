"""Data sets through the real library `datasets`, on files made here; and its absence."""

import json
import subprocess
import sys

import pytest

from moebook.errors import InputError
from moebook.text import TextSpec, load_text

ROWS = [{"content": f"document {number} é", "id": number} for number in range(200)]


def spec(**changes) -> TextSpec:
    fields = {"dataset": "json", "data_files": ("a.jsonl",), "column": "content"} | changes
    return TextSpec("huggingface", "hub", **fields)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def documents(text):
    return sorted(bytes(text.train_T).split(b"\0")[1:] + bytes(text.heldout_T).split(b"\0")[1:])


def test_without_the_library_the_extra_is_named(folder):
    code = (
        "import sys; sys.modules['datasets'] = None; from moebook.text import *\n"
        "load_text(TextSpec('huggingface', 'hub', dataset='c4'), None, sys.argv[1])"
    )
    found = subprocess.run([sys.executable, "-c", code, folder / "cache"], capture_output=True, text=True)
    assert found.stderr.splitlines()[-1] == (
        "moebook.errors.InputError: text hub: dataset: c4: needs the library `datasets`: "
        "pip install -e '.[huggingface]' in the checkout"
    )


def test_a_missing_file_is_named(folder):
    with pytest.raises(InputError, match=r"b\.jsonl: data_files: cannot be read"):
        load_text(spec(data_files=("b.jsonl",)), folder, folder / "cache")


class TestWithTheLibrary:
    @pytest.fixture(autouse=True)
    def datasets(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        return pytest.importorskip("datasets", reason="needs the library `datasets` (the extra huggingface)")

    def test_rows_of_json(self, folder):
        text = load_text(spec(), folder, folder / "cache")
        assert documents(text) == sorted(row["content"].encode() for row in ROWS)
        assert len(text.heldout_starts) >= 1

    def test_rows_of_parquet_are_the_same_text(self, folder, datasets):
        datasets.Dataset.from_list(ROWS).to_parquet(folder / "a.parquet")
        parquet = load_text(spec(dataset="parquet", data_files=("a.parquet",)), folder, folder / "cache")
        assert parquet.sha256 == load_text(spec(), folder, folder / "cache").sha256

    def test_so_many_rows(self, folder):
        text = load_text(spec(rows=20), folder, folder / "cache")
        assert documents(text) == sorted(row["content"].encode() for row in ROWS[:20])

    def test_a_row_without_the_column_is_named(self, folder):
        with pytest.raises(InputError, match="json:train:1: text: missing"):
            load_text(spec(column="text"), folder, folder / "cache")

    def test_an_unknown_split_is_one_line(self, folder):
        with pytest.raises(InputError, match="text hub: dataset: json: ValueError: .*test") as caught:
            load_text(spec(split="test"), folder, folder / "cache")
        assert "\n" not in str(caught.value)

    def test_a_dataset_that_is_not_there_is_one_line(self, folder, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(InputError, match="text hub: dataset: nobody/nothing: ") as caught:
            load_text(spec(dataset="nobody/nothing", data_files=()), folder, folder / "cache")
        assert "\n" not in str(caught.value)
