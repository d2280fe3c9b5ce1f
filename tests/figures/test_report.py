"""The report of a fit: whole in one file, no network, nothing lost on a phone or at night, words escaped."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from moebook import bayes
from moebook.figures import diagnosis
from moebook.figures.report import report

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def posterior():
    return bayes.Posterior.load(ROOT / "runs" / "posteriors" / "english")


@pytest.fixture(scope="module")
def text(posterior):
    return report(posterior, "runs <of mine>.csv", "moebook fit 'runs <of mine>.csv' --out out")


def test_it_says_what_a_reader_asks(posterior, text):
    summary = posterior.summary
    assert summary["identity"] in text and summary["ingredients"]["data"] in text
    assert "Every gate is passed" in text and f"<b>{summary['rows']}</b>runs" in text
    assert all(f"<td>{gate['name']}</td>" in text for gate in summary["gates"])
    assert all(f"<td>{name}</td>" in text for name in summary["estimates"])
    assert "the prior</td>" in text and "the data</td>" in text
    assert "runs &lt;of mine&gt;.csv" in text and "<of mine>" not in text
    assert "<td>seed</td>" in text and "nutpie 0" in text and "moebook fit" in text


def test_every_figure_has_words_and_no_id_twice(text):
    labels = re.findall(r'<svg[^>]*aria-label="([^"]+)"', text)
    assert len(labels) == text.count("<svg") >= 10 and len(set(labels)) == len(labels)
    assert any("Observed against predicted" in label for label in labels)
    assert all(any(f"along {name}" in label for label in labels) for name in ("params", "tokens", "sparsity"))
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)


def test_it_needs_nothing_else(text):
    assert not re.search(r'(?:src|href)="(?!#)', text) and "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_warnings_and_a_failed_gate_are_said_first(posterior):
    summary = dict(posterior.summary) | {
        "status": "failed", "warnings": [{"name": "x", "says": "N & D move together"}],
        "gates": [{"name": "R-hat", "demand": "< 1.01", "value": 1.2, "worst": "beta", "passed": False}],
    }  # fmt: skip
    text = report(bayes.Posterior(posterior.data, summary), "table")
    assert "Failed: R-hat" in text and "N &amp; D move together" in text and "Nothing may be quoted" in text
    assert text.index("move together") < text.index("What was read")


def test_a_posterior_stored_before_columns_were_kept_has_a_report(posterior):
    summary = {
        name: value for name, value in posterior.summary.items() if name not in ("columns", "warnings")
    }
    assert "<td>tokens</td>" in report(bayes.Posterior(posterior.data, summary), "table")


def test_many_runs_are_thinned_and_this_is_said():
    many = np.geomspace(1, 2, 5000)
    figure = diagnosis.residuals(many, "params", many)
    assert len(figure.axes[0].lines[1].get_xdata()) == diagnosis.MOST_MARKS


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, False), (390, True)])
def test_it_fits_every_screen_and_asks_no_network(text, chromium, tmp_path, width, dark):
    (tmp_path / "report.html").write_text(text)
    chromium.open(tmp_path / "report.html", width, 800, dark)
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.requests == [(tmp_path / "report.html").as_uri()] and chromium.errors == []
    narrow = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width < 120).length"
    assert chromium.evaluate(narrow) == 0
    ink, ground = (
        chromium.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor")
    )
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, ground)]
    assert (brightness[0] > brightness[1] + 400) if dark else (brightness[1] > brightness[0] + 400)
