"""Other people's tables: the right bytes or none, from a folder or a server, in the run table's columns."""

import dataclasses
import hashlib
import lzma
import pickle
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from moebook.errors import InputError
from moebook.runs import COLUMNS
from moebook.runs.public import SOURCES, files, law_rows, porian, public_table

FEW = b"C,N,D,loss\n6e18,1e8,1e10,3.1\n1.2e19,1e8,2e10,3.0\n2.4e19,2e8,2e10,2.9\n"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of tmp_path/served in the place of the real host, and an empty cache; it can be shut down."""
    served = tmp_path / "served"
    served.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served))
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    monkeypatch.setattr(files, "HOST", f"http://127.0.0.1:{http.server_port}")
    monkeypatch.setenv("MOEBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")

    def stop():
        if thread.is_alive():
            http.shutdown()
            thread.join()
            http.server_close()

    yield served, stop
    stop()


@pytest.fixture
def few(monkeypatch):
    """The table `chinchilla` with three rows of our own in the place of the published ones."""
    source = SOURCES["chinchilla"]
    pinned = dataclasses.replace(source.file, sha256=hashlib.sha256(FEW).hexdigest(), bytes=len(FEW))
    monkeypatch.setitem(SOURCES, "chinchilla", dataclasses.replace(source, file=pinned))
    return SOURCES["chinchilla"]


def place(root, source, content):
    path = root / source.repository / source.commit / source.file.remote
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_download_is_checked_kept_and_the_same_as_a_folder(server, few, tmp_path):
    served, stop = server
    place(served, few, FEW)
    fetched = public_table("chinchilla")
    stop()
    again = public_table("chinchilla")  # from the cache: nobody answers any more
    (tmp_path / "mine" / "chinchilla").mkdir(parents=True)
    (tmp_path / "mine" / "chinchilla" / "runs.csv").write_bytes(FEW)
    own = public_table("chinchilla", tmp_path / "mine")
    pd.testing.assert_frame_equal(fetched, again)
    pd.testing.assert_frame_equal(fetched, own)
    (address,), (path,) = (table.attrs["public"]["files"] for table in (fetched, own))
    assert address.endswith(f"{few.repository}/{few.commit}/examples/llm/df.csv")
    assert path == str(tmp_path / "mine" / "chinchilla" / "runs.csv")
    assert fetched.attrs["public"]["files"][address] == few.file.sha256


def test_a_damaged_copy_is_fetched_again(server, few, tmp_path):
    served, stop = server
    place(served, few, FEW)
    public_table("chinchilla")
    (copy,) = (tmp_path / "cache").rglob("df.csv")
    copy.write_bytes(FEW.replace(b"3.1", b"2.1"))
    assert public_table("chinchilla").loss_nats[0] == 3.1
    assert copy.read_bytes() == FEW


@pytest.mark.parametrize(
    "content", [FEW.replace(b"3.1", b"2.1"), FEW + b"1e19,1e8,1e10,2.0\n", FEW[:-9], b""]
)
def test_other_bytes_are_refused_and_not_kept(server, few, tmp_path, content):
    served, _ = server
    place(served, few, content)
    with pytest.raises(InputError, match=r"df\.csv: sha256: [0-9a-f]{64}: is not the published file"):
        public_table("chinchilla")
    assert not list((tmp_path / "cache").rglob("*.csv"))


def test_a_file_that_is_not_there_or_nobody_who_answers(server, few):
    _, stop = server
    for reason in ("not found", "refused"):
        with pytest.raises(
            InputError, match=f"cannot be downloaded: .*{reason}.*chinchilla/runs.csv"
        ) as error:
            public_table("chinchilla")
        assert "\n" not in str(error.value)
        stop()


def test_a_folder_with_another_file_or_none_is_refused(few, tmp_path):
    with pytest.raises(InputError, match="chinchilla/runs.csv: cannot be read: No such file"):
        public_table("chinchilla", tmp_path)
    (tmp_path / "chinchilla").mkdir()
    (tmp_path / "chinchilla" / "runs.csv").write_bytes(FEW + b"\n")
    with pytest.raises(InputError, match="chinchilla/runs.csv: sha256: .* is not the published file"):
        public_table("chinchilla", tmp_path)


def test_a_table_that_is_unknown_lists_the_known():
    with pytest.raises(InputError, match="public table: kaplan: unknown; there are chinchilla, clark2022"):
        public_table("kaplan")


def test_porian_from_its_repository(server, monkeypatch):
    """Pickled frames of frames, one a file; a pickle with another checksum is never opened."""
    served, _ = server
    settings = dict(zip(porian.VARIANT, ("rw", "base", "long", "kaplan", "kaplan", "val"), strict=True))
    budgets = pd.DataFrame(
        {
            "flops": [6e16, 1.2e17],
            "orig_n": [pd.Series([2e6, 1e6]), float("nan")],
            "orig_loss": [pd.Series([4.0, 4.5]), float("nan")],
        }
    )
    packed = lzma.compress(pickle.dumps(pd.DataFrame([{**settings, "data": budgets}])))
    pinned = dataclasses.replace(
        porian.PICKLES[0], sha256=hashlib.sha256(packed).hexdigest(), bytes=len(packed)
    )
    source = dataclasses.replace(SOURCES["porian2024"], upstream=(pinned,))
    monkeypatch.setitem(SOURCES, "porian2024", source)
    path = place(served, dataclasses.replace(source, file=pinned), packed)
    table = public_table("porian2024")
    assert table.params.tolist() == [1e6, 2e6] and table.loss_nats.tolist() == [4.5, 4.0]
    assert table.tokens.tolist() == pytest.approx([1e10, 5e9])
    assert set(table.variant) == {"rw base long kaplan kaplan val"}

    class Trap:
        def __reduce__(self):
            return pytest.fail, ("a pickle of strangers was opened",)

    other = dataclasses.replace(pinned, sha256="00" * 32)
    monkeypatch.setitem(SOURCES, "porian2024", dataclasses.replace(source, upstream=(other,)))
    path.write_bytes(lzma.compress(pickle.dumps(Trap())))
    with pytest.raises(InputError, match="is not the published file"):
        public_table("porian2024")


@pytest.mark.parametrize(("name", "rows"), [("chinchilla", 234), ("clark2022", 223), ("porian2024", 1745)])
def test_the_published_tables_in_the_columns_of_the_run_table(shared, name, rows):
    table = public_table(name, shared / "data")
    assert len(table) == rows and table.key.is_unique
    assert list(table.columns) == [*COLUMNS, *SOURCES[name].extras]
    needed = table[["params", "params_active", "tokens", "compute_flops", "sparsity", "loss_nats", "experts"]]
    assert np.isfinite(needed.to_numpy(float)).all()
    assert (table.params >= table.params_active).all() and table.sparsity.between(0, 1, "left").all()
    assert table.loss_nats.between(1.9, 10.1).all()
    assert table.compute_flops.to_numpy() == pytest.approx(table.flops_per_token * table.tokens)
    assert (table.status == "done").all() and (table.study == name).all()
    told = table.attrs["public"]
    assert told["licence"] and told["repository"] and told["paper"].startswith("arXiv ")
    (path,) = told["files"]
    assert path == str(shared / "data" / SOURCES[name].file.local)


def test_clark_by_run(shared):
    table = public_table("clark2022", shared / "data")
    last = pd.read_csv(shared / "data" / "clark2022" / "final_step.csv").sort_values("hyper_id")
    assert table.loss_nats.tolist() == last.loss_validation.tolist()
    for router, count in {"S-Base": 53, "RL-R": 54, "Hash": 51}.items():
        rows = law_rows(table, router)
        assert rows.router.value_counts().to_dict() == {router: count, "Dense": 5}
    assert table.tokens.to_numpy() == pytest.approx(np.full(223, 130e9), rel=0.01)
    seeds = table[(table.router == "Dense") & table.seed.isin([1, 2, 3])]
    assert seeds.params_active.nunique() == 1 and seeds.loss_nats.std() == pytest.approx(0.00067, abs=5e-6)
    # N is of the blocks alone, and FLOPs are six a parameter, attention and embeddings aside.
    square = table[(table.width == 1536) & (table.experts == 1) & (table.flop_increase == 1)]
    assert (square.params == square.layers * (13 * square.width**2 + 4 * square.width)).all()
    assert (6 * table.params_active / table.flops_per_token).between(0.2, 0.85).all()
    # Twice the experts of a token are a feed-forward of twice the width, so these two are of one size.
    wide = table[(table.router == "Dense") & (table.flop_increase == 4) & (table.width == 1536)]
    four = table[(table.router == "S-Base") & (table.active == 4) & (table.width == 1536)]
    assert four.params_active.to_numpy() == pytest.approx(np.full(3, wide.params_active.item()), rel=0.001)
    with pytest.raises(InputError, match="router: Dense: there are S-Base, RL-R, Hash"):
        law_rows(table, "Dense")


def test_porian_by_variant(shared):
    table = public_table("porian2024", shared / "data")
    counts = table.variant.value_counts()
    assert len(counts) == 15
    assert counts["rw base short chinchilla standard val"] == 88  # those of the table of forecasts
    assert counts["rw tuned short const standard val"] == 121
    assert counts["owt2 tuned short const standard val"] == 116
