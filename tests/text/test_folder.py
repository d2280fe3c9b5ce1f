"""A folder of documents: formats, the split, duplicates, and rows that are refused."""

import gzip
import json
import lzma
import tracemalloc

import numpy as np
import pytest

from moebook.errors import InputError
from moebook.text import Text, TextSpec, leaked_documents, load_text
from moebook.text.prepare import cut, document_starts

SPEC = TextSpec("folder", "few", heldout_share=0.2)
ROWS = [{"text": f"document {number}: " + "abc é " * number, "source": "made up"} for number in range(50)]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def contents(stream_T):
    return bytes(stream_T).split(b"\0")[1:]


@pytest.fixture
def prepared(tmp_path):
    """Prepare files, given by name, in a folder of their own."""

    def make(spec=SPEC, folder="texts", **files) -> Text:
        for name, content in files.items():
            path = tmp_path / folder / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return load_text(spec, tmp_path / folder, cache=tmp_path / "cache")

    return make


def test_every_document_is_whole_and_on_one_side(prepared):
    text = prepared(a_jsonl=lines(ROWS))
    train, heldout = contents(text.train_T), contents(text.heldout_T)
    assert sorted(train + heldout) == sorted(row["text"].encode() for row in ROWS)
    assert 3 <= len(heldout) <= 20
    assert [bytes(text.heldout_T[start:]).split(b"\0")[0] for start in text.heldout_starts] == heldout
    assert text.vocab == 256 and not text.train_T.flags.writeable
    assert text.manifest["train"] == {"bytes": len(text.train_T), "documents": len(train)}
    assert text.manifest["origins"]["a.jsonl"]["heldout"]["documents"] == len(heldout)


def test_neither_format_nor_names_nor_order_of_rows_matter(prepared):
    zstandard = pytest.importorskip("zstandard", reason="needs zstandard: reads .zst")
    plain = prepared(folder="plain", a_jsonl=lines(ROWS))
    packed = prepared(
        folder="packed",
        z_jsonl=lines(ROWS[40:]),
        deep__y_jsonl_xz=lzma.compress(lines(ROWS[:20])),
        x_jsonl_zst=b"".join(zstandard.compress(lines([row])) for row in reversed(ROWS[20:39])),
        w_txt=ROWS[39]["text"].encode(),
        MANIFEST_json=b"{}",
        _hidden_jsonl=b"not read",
    )
    assert packed.sha256 == plain.sha256
    assert bytes(packed.train_T) == bytes(plain.train_T)


def test_rows_that_carry_a_split_obey_it(prepared):
    words = ["train", "val", "valid", "validation", "test", None]
    rows = [{"text": f"{word} {number}", "split": word} for number in range(20) for word in words]
    text = prepared(a_jsonl=lines(rows))
    train, heldout = contents(text.train_T), contents(text.heldout_T)
    assert sum(content.startswith(b"train") for content in train) == 20
    assert sum(content.startswith(b"val") for content in heldout) == 60
    assert not any(content.startswith(b"test") for content in train + heldout)
    assert text.manifest["left_out"]["test"] == 20
    assert sum(content.startswith(b"None") for content in train + heldout) == 20


def test_duplicates_are_dropped_and_across_the_split_from_train(prepared):
    rows = [{"text": "same in both", "split": "train"}, {"text": "same in both", "split": "val"}]
    rows += [{"text": f"train {number % 5}", "split": "train"} for number in range(20)]
    rows += [{"text": "held out", "split": "val"}] * 3 + [{"text": ""}, {"text": "\0\0"}]
    text = prepared(a_jsonl=lines(rows))
    assert sorted(contents(text.train_T)) == [f"train {number}".encode() for number in range(5)]
    assert sorted(contents(text.heldout_T)) == [b"held out", b"same in both"]
    left_out = text.manifest["left_out"]
    assert left_out["train_equal_to_heldout"] == 1
    assert (left_out["duplicate_train"], left_out["duplicate_heldout"], left_out["empty"]) == (15, 2, 2)


def test_a_book_in_train_that_starts_like_a_heldout_one_is_dropped(prepared):
    start = "The same first pages. " * 10
    rows = [
        {"text": start + "First edition", "split": "val"},
        {"text": start + "Second edition"},
        {"text": "other"},
    ]
    rows[1]["split"] = rows[2]["split"] = "train"
    text = prepared(TextSpec("folder", "few", heldout_document_bytes=100), a_jsonl=lines(rows))
    assert contents(text.train_T) == [b"other"]
    assert contents(text.heldout_T) == [start[:100].encode()]
    whole = prepared(TextSpec("folder", "few", heldout_document_bytes=0), a_jsonl=lines(rows))
    assert contents(whole.heldout_T) == [rows[0]["text"].encode()] and len(contents(whole.train_T)) == 2


def test_a_planted_leak_is_caught(prepared):
    text = prepared(a_jsonl=lines(ROWS))
    limit = SPEC.heldout_document_bytes
    assert len(leaked_documents(text.train_T, text.heldout_T, limit)) == 0
    planted = contents(text.heldout_T)[1]
    train = contents(text.train_T)
    leaky_T = np.frombuffer(b"".join(b"\0" + part for part in [*train[:7], planted, *train[7:]]), np.uint8)
    assert leaked_documents(leaky_T, text.heldout_T, limit).tolist() == [document_starts(leaky_T)[7]]


def test_preparation_stops_at_a_leak(prepared, monkeypatch):
    import moebook.text.prepare as module

    monkeypatch.setattr(module, "_drop_duplicates", lambda table, raw_T, limit, counts: (table[:2], table))
    with pytest.raises(RuntimeError, match="train documents are held out too"):
        prepared(a_jsonl=lines(ROWS))


def test_train_bytes_takes_whole_documents_in_the_same_order(prepared):
    everything = prepared(a_jsonl=lines(ROWS))
    some = prepared(TextSpec("folder", "few", heldout_share=0.2, train_bytes=2000), a_jsonl=lines(ROWS))
    assert len(some.train_T) <= 2000 < len(everything.train_T)
    assert bytes(everything.train_T).startswith(bytes(some.train_T) + b"\0")
    assert bytes(some.heldout_T) == bytes(everything.heldout_T)


def test_heldout_documents_are_cut_between_characters():
    text = np.frombuffer("aé€😀".encode() * 9, np.uint8)
    for limit in range(1, 90):
        piece = bytes(text[: cut(text, limit)])
        assert limit - 4 < len(piece) <= limit or len(piece) == min(limit, len(text))
        if limit > 3:
            piece.decode()
    assert cut(text, 0) == cut(text, 1000) == len(text)


def test_one_of_a_few_documents_is_held_out_and_a_single_one_refused(prepared):
    text = prepared(TextSpec("folder", "two"), folder="two", a_txt=b"first", b_txt=b"second")
    assert sorted(contents(text.train_T) + contents(text.heldout_T)) == [b"first", b"second"]
    with pytest.raises(InputError, match="text one: heldout: 0 documents"):
        prepared(TextSpec("folder", "one"), folder="one", a_txt=b"alone")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": 3}', "text: 3: must be a string"),
        (b'{"body": "x"}', "text: missing"),
        (b'["text"]', "row: ['text']: must be an object"),
        (b'{"text": "x"', "row: not JSON"),
        (b'{"text": "\xff"}', "row: not UTF-8"),
        (rb'{"text": "\ud800"}', "text: not text: half a surrogate"),
        (b'{"text": "x", "split": "dev"}', "split: 'dev': must be one of train, val"),
        (b'{"text": "x", "split": ["train"]}', "split: ['train']: must be one of"),
        (b'{"text": "x", "source": 1}', "source: 1: must be a string"),
        (b"[" * 100_000, "row: not JSON"),
    ],
)
def test_a_bad_row_is_refused_with_its_file_line_and_field(prepared, tmp_path, line, message):
    with pytest.raises(InputError) as caught:
        prepared(a_jsonl=lines(ROWS[:2]) + b"\n" + line + b"\n" + lines(ROWS[2:]))
    assert str(caught.value).startswith(f"{tmp_path}/texts/a.jsonl:4: {message}")
    assert "\n" not in str(caught.value)
    assert [
        path.name for path in (tmp_path / "cache" / "texts").iterdir() if not path.name.endswith(".lock")
    ] == []


def test_damaged_files_are_refused_by_name(prepared):
    zstandard = pytest.importorskip("zstandard", reason="needs zstandard: reads .zst")
    for name, content in {
        "cut_jsonl_xz": lzma.compress(lines(ROWS))[:-20],
        "other_jsonl_xz": gzip.compress(lines(ROWS)),
        "cut_jsonl_zst": zstandard.compress(lines(ROWS))[:-20],
        "other_jsonl_zst": gzip.compress(lines(ROWS)),
    }.items():
        with pytest.raises(InputError, match=name.replace("_", ".") + ": damaged: "):
            prepared(folder=name, **{name: content})
    with pytest.raises(InputError, match="a.txt: text: not UTF-8"):
        prepared(folder="latin", a_txt="é".encode("latin-1"))


def test_files_are_chosen_by_stem_name_or_glob(prepared):
    files = {
        f"{name}_jsonl": lines(ROWS[start : start + 10])
        for start, name in ((0, "wiki"), (10, "books"), (20, "b2"))
    }
    for patterns, count in {("wiki",): 10, ("b*",): 20, ("b2.jsonl", "wiki"): 20, (): 30}.items():
        text = prepared(TextSpec("folder", "few", patterns, heldout_share=0.2), **files)
        assert len(contents(text.train_T)) + len(contents(text.heldout_T)) == count
    with pytest.raises(
        InputError, match=r"texts: files: 'wikj': matches none of b2.jsonl, books.jsonl, wiki.jsonl"
    ):
        prepared(TextSpec("folder", "few", ("wiki", "wikj")), **files)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="text few: folder: None"):
        load_text(SPEC, None, cache=tmp_path)
    with pytest.raises(InputError, match="nowhere: text few: no such folder"):
        load_text(SPEC, tmp_path / "nowhere", cache=tmp_path)
    with pytest.raises(InputError, match="files: none: no file ends in .jsonl"):
        load_text(SPEC, tmp_path, cache=tmp_path)


def test_a_changed_folder_is_another_text(prepared):
    first = prepared(a_jsonl=lines(ROWS))
    second = prepared(b_jsonl=lines([{"text": "one more", "split": "train"}]))
    assert len(contents(second.train_T)) == len(contents(first.train_T)) + 1


def test_memory_stays_small(prepared, tmp_path):
    rng = np.random.default_rng(0)
    rows = [{"text": "".join(map(chr, rng.integers(32, 127, 100_000)))} for _ in range(150)]
    one_file = "".join(row["text"] for row in rows).encode()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.jsonl.xz").write_bytes(lzma.compress(lines(rows), preset=0))
    tracemalloc.start()
    text = prepared(b_txt=one_file, c_txt=b"small")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(text.train_T) > 25e6
    assert peak < 8e6


def test_the_english_corpus(shared, tmp_path):
    spec = TextSpec("folder", "english", ("wiki", "books", "techdocs", "civic"))
    text = load_text(spec, shared / "corpus", cache=tmp_path)
    assert text.sha256 == "9e7e2fd8d4047bc4c6f9079e60585b3e6e8a47e0b9839cacfcd2b07d2a7c394a"
    manifest = json.loads((shared / "corpus/MANIFEST.json").read_bytes())["files"]
    for name in spec.files:
        found, expected = text.manifest["origins"][f"{name}.jsonl.xz"], manifest[name]
        assert found["train"] == {"bytes": expected["raw_train"], "documents": expected["docs_train"]}
        assert found["heldout"]["documents"] == expected["docs_val"]
