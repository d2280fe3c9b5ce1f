"""The build: no stale number, no silent warning, no failed posterior, no outside kernel, no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import moebook
from moebook.book import BookError, build, project_root
from moebook.book.fingerprint import fingerprint
from moebook.errors import InputError

ROOT = project_root(Path(__file__).parent)
HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
# A small book

Formula: $E = m c^2$ {cite:p}`someone`.
"""
CHAPTER = """
```{code-cell} ipython3
:tags: [remove-input]
import json, os, sys
from pathlib import Path
from myst_nb import glue
from moebook.figures.style import PALETTE
summary = json.loads((Path(os.environ["MOEBOOK_RUNS"]) / "posteriors/made/summary.json").read_text())
glue("number", float(summary["number"]), display=False)
print("kernel", sys.executable, "threads", os.environ["OMP_NUM_THREADS"], "palette", PALETTE[0])
```

The number is {glue:text}`number:.3f`.
"""


def write_posterior(root: Path, number: float = 0.125, status: str = "passed") -> None:
    gate = {"name": "R-hat", "demand": "< 1.01", "value": 1.2, "worst": "beta", "passed": status == "passed"}
    summary = {
        "format": 1, "identity": "f" * 64, "status": status, "law": "abnar", "units": {}, "gates": [gate],
        "number": number,
    }  # fmt: skip
    folder = root / "runs" / "posteriors" / "made"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary))


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """A checkout with a book of one chapter, its own cache, and a decoy kernel in the user's folder."""
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copytree(ROOT / "book" / "_static", tmp_path / "book" / "_static")
    (tmp_path / "book" / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    (tmp_path / "book" / "references.bib").write_text(
        "@misc{someone, author={One, Some}, title={T}, year={2020}}\n"
    )
    (tmp_path / "book" / "index.md").write_text(HEADER + CHAPTER + "\n```{bibliography}\n```\n")
    write_posterior(tmp_path)
    decoy = tmp_path / "home" / ".local" / "share" / "jupyter" / "kernels" / "python3"
    decoy.mkdir(parents=True)
    decoy_kernel = {"argv": ["/no/such/python"], "display_name": "decoy", "language": "python"}
    (decoy / "kernel.json").write_text(json.dumps(decoy_kernel))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(decoy.parent.parent))
    monkeypatch.setenv("MOEBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MOEBOOK_RUNS", raising=False)
    return tmp_path


def page_text(root: Path) -> str:
    return (root / "_build" / "html" / "index.html").read_text()


def test_an_edited_posterior_changes_the_page_and_an_unchanged_one_is_not_executed_again(small):
    first = build(root=small)
    assert list(first.seconds) == ["index"] and first.index == small / "_build" / "html" / "index.html"
    page = page_text(small)
    assert "The number is 0.125" in re.sub(r"<[^>]+>", "", page)
    assert f"kernel {sys.executable} threads 1" in page, "the decoy kernel or more threads were used"

    second = build(root=small)
    assert second.cached == ["index"] and second.seconds == {}

    write_posterior(small, number=0.375)
    third = build(root=small)
    assert list(third.seconds) == ["index"]
    assert "The number is 0.375" in re.sub(r"<[^>]+>", "", page_text(small))


def test_a_folder_that_others_built_is_left_alone(tmp_path):
    page = tmp_path / "_build" / "html" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("theirs")
    with pytest.raises(InputError, match="_build: holds other files"):
        build(root=ROOT, out=tmp_path)
    assert page.read_text() == "theirs"


def test_a_changed_library_constant_never_serves_the_old_number(small):
    library = small / "library" / "moebook"
    shutil.copytree(Path(moebook.__file__).parent, library, ignore=shutil.ignore_patterns("__pycache__"))
    code = "from pathlib import Path; from moebook.book import build; build(root=Path('.'))"
    env = os.environ | {"PYTHONPATH": str(library.parent)}

    def palette() -> str:
        subprocess.run([sys.executable, "-c", code], cwd=small, env=env, check=True)
        return re.search(r"palette (#\w+)", page_text(small))[1]

    assert palette() == "#0072b2"
    style = library / "figures" / "style.py"
    style.write_text(style.read_text().replace('"#0072b2"', '"#0072b3"'))
    assert palette() == "#0072b3"


def test_a_warning_is_an_error_the_second_time_too(small):
    with (small / "book" / "index.md").open("a") as file:
        file.write("\nSee {doc}`nowhere`.\n")
    for _ in range(2):
        with pytest.raises(BookError, match="nowhere"):
            build(root=small)


def test_a_cell_that_raises_is_named_with_its_exception(small):
    with (small / "book" / "index.md").open("a") as file:
        file.write("\n```{code-cell} ipython3\nraise LookupError('no such run')\n```\n")
    with pytest.raises(BookError, match="index.md.*LookupError: no such run"):
        build(root=small)


def test_a_cell_that_warns_on_stderr_is_an_error(small):
    with (small / "book" / "index.md").open("a") as file:
        file.write("\n```{code-cell} ipython3\nimport warnings; warnings.warn('odd')\n```\n")
    with pytest.raises(BookError, match="stderr"):
        build(root=small)


def test_a_posterior_that_failed_a_gate_stops_the_build_with_exit_code_1_and_one_line(small):
    write_posterior(small, status="failed")
    code = "from moebook.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "book", "build"], cwd=small, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "posteriors/made" in line and "R-hat 1.2 (must be < 1.01; worst: beta)" in line
    assert not (small / "_build").exists()


def test_a_book_without_a_posterior_is_not_built(small):
    shutil.rmtree(small / "runs")
    with pytest.raises(BookError, match="no stored posterior"):
        build(root=small)


class Loads(HTMLParser):
    """Everything that a page makes the browser fetch."""

    FETCHED = {
        "script": "src",
        "link": "href",
        "img": "src",
        "iframe": "src",
        "source": "src",
        "video": "src",
    }

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.inside = tag
        if tag == "link" and values.get("rel") in ("canonical", "license", "index", "search", "next", "prev"):
            return
        if url := values.get(self.FETCHED.get(tag, "")):
            self.urls.append(url)

    def handle_data(self, data):
        if self.inside == "style":
            self.urls += re.findall(r"url\(['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", data)
        if self.inside == "script":
            self.urls += re.findall(r"(https?://[^\s\"']+\.(?:js|css|woff2?))", data)


def network_loads(html: Path) -> list[str]:
    """`file: url` for every reference of the rendered pages and style sheets to another host."""
    found = []
    for page in html.rglob("*.html"):
        if "_static" in page.parts:
            continue
        parser = Loads()
        parser.feed(page.read_text())
        found += [f"{page.name}: {url}" for url in parser.urls if re.match(r"(https?:)?//", str(url))]
    for sheet in html.rglob("*.css"):
        urls = re.findall(r"url\(['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", sheet.read_text())
        found += [f"{sheet.name}: {url}" for pair in urls for url in pair if re.match(r"(https?:)?//", url)]
    return found


def test_the_pages_load_nothing_from_the_network_and_carry_their_formula_typesetter(small):
    build(root=small)
    html = small / "_build" / "html"
    assert network_loads(html) == []
    [script] = re.findall(r'src="(_static/mathjax/[^"?]+)', page_text(small))
    assert (html / script).stat().st_size > 1_000_000
    (html / "extra.html").write_text('<script src="https://cdn.example/x.js"></script>')
    assert network_loads(html) == ["extra.html: https://cdn.example/x.js"], "the search would find one"


def test_the_fingerprint_sees_library_runs_posterior_results_and_lock_but_no_cache(tmp_path):
    names = [
        "library/a.py",
        "library/figures/live.js",
        "runs/records/t/1.json",
        "runs/posteriors/p/posterior.nc",
        "results/machine.json",
        "lock",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")

    def mark() -> str:
        return fingerprint(*(tmp_path / name for name in ("library", "runs", "lock", "results")))

    seen = {mark()}
    for name in names:
        (tmp_path / name).write_text("two")
        seen.add(mark())
    (tmp_path / "runs/records/t/1.json").rename(tmp_path / "runs/records/t/2.json")
    seen.add(mark())
    (tmp_path / "lock").unlink()
    seen.add(mark())
    assert len(seen) == len(names) + 3
    (tmp_path / "library/__pycache__").mkdir()
    (tmp_path / "library/__pycache__/a.pyc").write_bytes(b"x")
    assert mark() in seen
