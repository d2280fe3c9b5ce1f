"""Sources of installed distributions: only untouched files of listed wheels make the text."""

import base64
import hashlib
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from moebook.errors import InputError
from moebook.text import TextSpec, load_text
from moebook.text.packages import LIST, PackagesSource, rules
from moebook.text.packages.__main__ import make_list
from moebook.text.prepare import prepare
from moebook.text.progress import silent

SPEC = TextSpec("packages", "packages")
ROOT = Path(__file__).resolve().parents[2]


def source(number: int) -> str:
    """A module that is like no other."""
    rng = random.Random(number)
    names = ["".join(rng.choices("abcdefgh", k=12)) for _ in range(40)]
    return "".join(
        f"def {name}(x, y):\n    return x * {rng.random()} + y ** {rng.random()}\n" for name in names
    )


def install(site: Path, name: str, version: str, files: dict, tags=("py3-none-any",), pure="true") -> None:
    """A distribution as an installer leaves it."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "WHEEL").write_text(f"Root-Is-Purelib: {pure}\n" + "".join(f"Tag: {tag}\n" for tag in tags))
    rows = [f"{name}-{version}.dist-info/RECORD,,", f"../../../bin/{name}.py,sha256=x,1"]
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content.encode())
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}")
    (info / "RECORD").write_text("\n".join(rows) + "\n")


FILES = {f"alpha/m{number}.py": source(number) for number in range(30)}
FILES |= {"alpha/data.txt": "no source", "alpha/__init__.py": ""}


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(rules, "LEAST_BYTES", 1000)
    place = tmp_path / "site"
    install(place, "alpha", "1.0", FILES)
    install(place, "beta", "2.0", {"beta.py": source(100)}, tags=("py2-none-any", "py3-none-any"))
    install(
        place,
        "compiled",
        "1.0",
        {"compiled.py": source(101)},
        tags=("cp311-cp311-linux_x86_64",),
        pure="false",
    )
    install(place, "mixed", "1.0", {"mixed.py": source(102)}, tags=("cp39-abi3-win_amd64", "py3-none-any"))
    install(place, "only-here", "1.0", {"here.py": source(103)})
    install(place, "small", "1.0", {"small.py": "x = 1\n"})
    (tmp_path / "lock").write_text(
        "# a comment\nalpha==1.0 \\\n    --hash=sha256:00\nBeta==2.0\ncompiled==1.0\nmixed==1.0\nsmall==1.0\n"
        'only-here==1.0 ; sys_platform == "linux"\n'
    )
    return place


@pytest.fixture
def listing(site, tmp_path) -> dict:
    return make_list(tmp_path / "lock", site)


def read(listing: dict, site: Path, tmp_path: Path) -> dict:
    folder = tmp_path / f"prepared{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    manifest = prepare(PackagesSource(SPEC, site, listing).documents(silent), SPEC, folder, silent)
    return manifest | {side: (folder / f"{side}.bin").read_bytes() for side in ("train", "heldout")}


def test_only_pinned_universal_wheels_are_listed(listing):
    assert [(entry["name"], entry["files"]) for entry in listing["distributions"]] == [
        ("alpha", 30),
        ("beta", 1),
    ]
    assert listing["distributions"][0]["left_out"] == {"empty": ["alpha/__init__.py"]}


def test_order_is_that_of_the_hash_of_distribution_and_path(listing, site, tmp_path):
    streams = read(listing, site, tmp_path)
    contents = {f"alpha/{path}": text for path, text in FILES.items() if path.endswith(".py") and text}
    contents["beta/beta.py"] = source(100)
    order = sorted(contents, key=lambda name: hashlib.sha256(name.encode()).digest())
    limit = int(0.02 * 2**64)
    heldout = [name for name in order if int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) < limit]
    heldout = heldout or order[:1]
    assert streams["train"] == b"".join(b"\0" + contents[n].encode() for n in order if n not in heldout)
    assert streams["heldout"] == b"".join(b"\0" + contents[n].encode() for n in heldout)


def test_an_edited_file_is_refused_by_name(listing, site, tmp_path):
    (site / "alpha/m7.py").write_text(source(7).replace("return", "return  "))
    with pytest.raises(
        InputError, match=r"site/alpha/m7\.py: sha256: .* changed since installation, RECORD of alpha"
    ):
        read(listing, site, tmp_path)


def test_a_missing_file_is_refused_by_name(listing, site, tmp_path):
    (site / "alpha/m7.py").unlink()
    with pytest.raises(
        InputError, match=r"site/alpha/m7\.py: cannot be read, but stands in the RECORD of alpha 1\.0"
    ):
        read(listing, site, tmp_path)


def test_an_edited_file_with_a_fitting_record_is_refused(listing, site, tmp_path):
    install(site.parent / "other", "alpha", "1.0", FILES | {"alpha/m7.py": "x = 1\n"})
    install(site.parent / "other", "beta", "2.0", {"beta.py": source(100)})
    with pytest.raises(
        InputError, match=r"alpha 1\.0: hashes of \*\.py files that are not those of the listed wheel"
    ):
        read(listing, site.parent / "other", tmp_path)


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("alpha-1.0.dist-info", "site: alpha: 1.0: not installed: pip install -r requirements.lock"),
        (
            "alpha-1.0.dist-info/RECORD",
            "alpha-1.0 RECORD: missing: only distributions installed from a wheel",
        ),
    ],
)
def test_a_distribution_that_is_not_installed_is_named(listing, site, tmp_path, remove, message):
    (site / remove).rename(tmp_path / "away")
    with pytest.raises(InputError, match=re.escape(message)):
        read(listing, site, tmp_path)


def test_another_version_is_named(listing, site, tmp_path):
    install(tmp_path / "other", "alpha", "1.1", FILES)
    with pytest.raises(InputError, match=r"alpha-1\.1 RECORD: alpha: 1\.1: version 1\.0 is listed"):
        read(listing, tmp_path / "other", tmp_path)


def test_a_pin_that_is_not_installed_stops_the_list(site, tmp_path):
    (tmp_path / "lock").write_text("alpha==1.0\ngamma==1.0\n")
    with pytest.raises(InputError, match="gamma: 1.0: not installed"):
        make_list(tmp_path / "lock", site)


def test_neither_file_system_order_nor_locale_matter(listing, site, tmp_path):
    other = tmp_path / "other"
    install(other, "beta", "2.0", {"beta.py": source(100)})
    install(other, "alpha", "1.0", dict(reversed(FILES.items())))
    rows = (other / "alpha-1.0.dist-info/RECORD").read_text()
    assert rows != (site / "alpha-1.0.dist-info/RECORD").read_text()
    assert read(listing, other, tmp_path) == read(listing, site, tmp_path)
    (tmp_path / "list.json").write_text(json.dumps(listing))
    code = (
        "import sys, json, os, locale, random; from pathlib import Path; locale.setlocale(locale.LC_ALL, '');"
        "import moebook.text.packages as packages; packages.LIST = Path(sys.argv[2]); list_ = os.listdir;"
        "os.listdir = lambda *a: random.sample(found := list_(*a), len(found));"
        "from moebook.text import *;"
        "print(load_text(TextSpec('packages', 'packages'), sys.argv[1], sys.argv[3]).sha256)"
    )
    sums = set()
    for number, language in enumerate(("C", "C.UTF-8", "POSIX")):
        environment = os.environ | {"LC_ALL": language, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        environment |= {"PYTHONHASHSEED": str(number)}
        command = [sys.executable, "-c", code, site, tmp_path / "list.json", tmp_path / f"cache {number}"]
        sums.add(
            subprocess.run(
                command, env=environment, text=True, capture_output=True, check=True
            ).stdout.strip()
        )
    assert sums == {listing["text_sha256"]}


TABLE = "names = [\n" + "".join(f"    '{random.Random(n).random()}',\n" for n in range(100)) + "]\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("x = '\0'\n", "separator"),
        ("# License\n\n# This file was automatically generated from a.py\nx = 1\n", "generated"),
        ("#  DO NOT EDIT\nx = 1\n", "generated"),
        ('"""A sequence generated by a rule."""\nx = 1\n', ""),
        ("\n" * 30 + "# generated by hand\nx = 1\n", ""),
        ("x = x + 1\n" * 1000, "repetitive"),
        (TABLE, "table"),
        (TABLE + source(1) * 2, ""),
        (TABLE.replace("names = ", "def f(x):\n    return "), "table"),
        ('"""' + TABLE + '"""\nx = 1\n', ""),
        (source(1), ""),
        ("print 'a source of Python 2'\n", ""),
    ],
)
def test_why_a_file_is_left_out(content, reason):
    assert rules.reason(content.encode()) == reason


def test_copies_are_left_out_and_the_first_kept():
    changed = source(1).replace("x * ", "x - ", 15)
    contents = {("a", f"{n}.py"): text.encode() for n, text in enumerate((source(1), changed, source(2)))}
    copies = list(rules.copied(contents))
    assert len(copies) == 1 and copies[0][1] in ("0.py", "1.py")
    assert list(rules.copied({key: contents[key] for key in contents if key not in copies})) == []


def test_the_lock_pins_every_listed_distribution():
    lock = ROOT / "requirements.lock"
    if not lock.exists():
        pytest.skip("needs requirements.lock in the checkout")
    pins = rules.pinned(lock)
    listed = {entry["name"]: entry["version"] for entry in json.loads(LIST.read_bytes())["distributions"]}
    assert {name: pins.get(name) for name in listed} == listed


def test_the_committed_text(tmp_path):
    text = load_text(SPEC, cache=tmp_path)  # refused where the checksum is not the committed one
    listing = json.loads(LIST.read_bytes())
    assert text.sha256 == listing["text_sha256"]
    assert text.manifest["left_out"] == {
        "duplicate_heldout": 0,
        "duplicate_train": 0,
        "train_equal_to_heldout": 0,
    }
    size = sum(entry["bytes"] for entry in listing["distributions"])
    assert 60e6 < size < 90e6
    documents = text.manifest["train"]["documents"] + text.manifest["heldout"]["documents"]
    assert documents == sum(entry["files"] for entry in listing["distributions"])
    assert 0.01 < text.manifest["heldout"]["documents"] / documents < 0.04


def test_another_split_has_another_checksum(tmp_path):
    spec = TextSpec("packages", "packages", heldout_share=0.5, train_bytes=10_000_000)
    text = load_text(spec, cache=tmp_path)
    assert text.sha256 != json.loads(LIST.read_bytes())["text_sha256"]
    assert 9e6 < len(text.train_T) <= 10e6
