"""The book itself, built and opened from file:// in a browser with no network, at desk and phone width."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from moebook.book import build, chapters, posterior_folders, project_root

ROOT = project_root(Path(__file__).parent)
NAMES = chapters(ROOT)
pytestmark = [pytest.mark.browser]


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    """The built pages; chapters that nothing has changed come from the cache."""
    if not posterior_folders(ROOT / "runs"):
        pytest.skip("needs a stored posterior under runs/posteriors: `moebook fit` makes one")
    return build(root=ROOT, out=tmp_path_factory.mktemp("book"), runs=ROOT / "runs").index.parent


@pytest.fixture(scope="module")
def chromium():
    spec = importlib.util.spec_from_file_location("chromium", Path(__file__).with_name("chromium.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    executable = module.find_chromium()
    if executable is None:
        pytest.skip("needs Chromium: the pages are opened in a browser")
    browser = module.Chromium(executable)
    yield browser
    browser.close()


def words(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text())


def test_every_chapter_is_there_and_shows_no_traceback_or_unresolved_name(html):
    for name in NAMES:
        page, text = (html / f"{name}.html").read_text(), words(html / f"{name}.html")
        assert "Traceback" not in text and "{glue" not in text and "nan" not in text.split(), name
        assert "IPython.core" not in page, f"{name}: shows an object's type"
        shown = re.sub(r"<(script|pre).*?</\1>", "", page, flags=re.DOTALL)
        assert not re.search(r">[^<]*\$[A-Za-z\\][^<]*<", shown), f"{name}: a formula that is not typeset"
        assert not re.search(r"(^|\s)/(home|root|tmp|work)/", text), f"{name}: names a path of this machine"


def test_no_page_shows_a_terminals_animation(html):
    for name in NAMES:
        text = (html / f"{name}.html").read_text()
        assert "\x1b" not in text and "[?25" not in text, name
        assert text.count("compiling ") <= 1, f"{name}: a spinner's lines"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
def test_pages_fit_their_window_and_ask_nobody(html, chromium, width, dark):
    for name in NAMES:
        chromium.open(html / f"{name}.html", width=width, dark=dark)
        assert chromium.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
        assert chromium.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
        assert chromium.errors == [], name
        outside = [url for url in chromium.requests if not url.startswith(("file:", "data:", "blob:"))]
        assert outside == [], name


def test_formulas_are_typeset_offline(html, chromium):
    chromium.open(html / "sparsity.html")
    chromium.wait_for("document.querySelectorAll('mjx-container svg').length > 10")
    assert chromium.evaluate("document.querySelectorAll('mjx-merror').length") == 0


def test_the_slider_of_the_book_moves_its_numbers(html, chromium):
    chromium.open(html / "optimum.html")
    first = "document.querySelector('.mb-live')"
    before = chromium.evaluate(f"{first}.querySelector('output').textContent")
    chromium.evaluate(
        f"(i => {{ i.value = 0; i.dispatchEvent(new Event('input')) }})({first}.querySelector('input'))"
    )
    after = chromium.evaluate(f"{first}.querySelector('output').textContent")
    assert before.startswith("C = ") and after.startswith("C = ") and before != after
    assert chromium.evaluate(f"{first}.querySelector('output').getAttribute('aria-live')") == "polite"
