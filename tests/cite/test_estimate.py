"""Digits stop at the Monte Carlo error; text, BibTeX and JSON carry the identity."""

import json
import re
from pathlib import Path

import pytest
import yaml

from moebook import __released__, __version__
from moebook.cite import Estimate, decimals, in_digits, of_coefficient


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.91234, 0.004, "0.91"),
        (0.91234, 0.0004, "0.912"),
        (0.91234, 0.0006, "0.91"),  # twice .0006 is more than a unit of the third decimal
        (2.5, 0.3, "2"),
        (12345.6, 40.0, "12300"),
        (-0.04, 0.3, "0"),
        (48859.0, 7000.0, "50000"),  # 0 would be another number
        (4.1, 30.0, "4"),
        (0.96875, 0.0, "0.9688"),
        (3.14159e9, 1e6, "3.14e+09"),
    ],
)
def test_digits(value, error, shown):
    assert in_digits(value, error) == shown


def test_the_last_digit_is_never_finer_than_twice_the_error():
    for error in (1e-5, 3e-4, 4.9e-3, 0.05, 0.2, 1.7):
        assert 10.0 ** -decimals(error) >= 2 * error


def test_an_error_that_is_none_is_refused():
    with pytest.raises(ValueError, match="Monte Carlo error"):
        decimals(float("nan"))


def estimate(**changes):
    values = {
        "name": "optimal sparsity at 1e+12 training FLOPs", "unit": "", "median": 0.9123,
        "interval_50": (0.88, 0.93), "interval_90": (0.8312, 0.9555), "mcse": 0.004, "verdict": "identified",
        "identity": "12" * 32, "posterior": "34" * 32, "version": "0.1.0",
    }  # fmt: skip
    return Estimate(**{**values, **changes})


def test_text_says_number_interval_and_identity():
    text = estimate().text()
    assert "0.91 (90 % interval 0.83 to 0.96;" in text and "121212121212" in text
    assert "not identified" not in text
    assert "not identified: at the edge" in estimate(verdict="not identified: at the edge").text()


def test_bibtex_is_well_formed_and_keyed_by_identity():
    entry = estimate().bibtex()
    assert entry.startswith("@misc{moebook-121212121212,")
    assert entry.count("{") == entry.count("}")
    assert "34" * 32 in entry and "12" * 32 in entry
    assert re.findall(r"^  (\w+)\s+=", entry, re.M) == ["author", "title", "year", "note"]


def test_the_citation_file_has_the_same_version_and_day():
    cited = yaml.safe_load((Path(__file__).resolve().parents[2] / "CITATION.cff").read_text())
    assert (cited["version"], str(cited["date-released"])) == (__version__, __released__)
    assert f"year    = {{{cited['date-released'].year}}}" in estimate().bibtex()


def test_bibtex_escapes_what_latex_would_stumble_over():
    entry = estimate(name="data_share of 90 % & more").bibtex()
    assert r"data\_share of 90 \% \& more}}," in entry


def test_json_holds_everything():
    stored = json.loads(estimate().json())
    assert stored["median"] == 0.9123 and stored["posterior"] == "34" * 32


def test_a_coefficient_has_an_identity_of_its_own():
    one = {"q05": 0.1, "q25": 0.2, "q50": 0.3, "q75": 0.4, "q95": 0.5, "identified": False}
    one |= {"mcse_q05": 0.02, "mcse_q50": 0.01, "mcse_q95": 0.02}
    summary = {"law": "abnar", "identity": "56" * 32, "estimates": {"beta": one, "alpha": one}}
    beta, alpha = of_coefficient(summary, "beta"), of_coefficient(summary, "alpha")
    assert beta.identity != alpha.identity and beta.posterior == alpha.posterior
    assert "prior decides" in beta.text()
    assert beta.mcse == 0.02, "digits of the interval's ends count too"
