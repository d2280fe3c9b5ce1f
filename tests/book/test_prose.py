"""The chapters' sources: no number is typed, no logic is hidden, plain MyST, known citations."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from moebook.book import chapters, project_root

BOOK = project_root(Path(__file__).parent) / "book"
NAMES = chapters(BOOK.parent)
#: Names that carry a digit without being a number: laws and claims, licences, hypotheses, a unit of the API.
NAMES_WITH_DIGITS = re.compile(r"\bEq\. \d|\bH[1-8]\b|CC BY 4\.0|Apache 2\.0|\bSHA-?256\b|\b[a-z]+_\d+\b")


def source(name: str) -> str:
    return (BOOK / f"{name}.md").read_text()


def code_cells(text: str) -> list[str]:
    return re.findall(
        r"^```\{code-cell\}[^\n]*\n(?::tags:[^\n]*\n\n?)?(.*?)^```", text, re.DOTALL | re.MULTILINE
    )


def prose(text: str) -> str:
    """What a reader reads as words: without front matter, code, formulas, roles, links and labels."""
    text = re.sub(r"\A---.*?^---$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```\{code-cell\}.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```(?:bash|python|text)\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$(?: \([\w-]+\))?", "", text, flags=re.DOTALL)
    text = re.sub(r"\$[^$]+\$", "", text)
    text = re.sub(r"\{[\w:]+\}`[^`]*`|`[^`]*`|^:\w+:.*$", "", text, flags=re.MULTILINE)
    return NAMES_WITH_DIGITS.sub("", text)


@pytest.mark.parametrize("name", NAMES)
def test_no_numeral_is_typed_into_the_prose(name):
    typed = [line for line in prose(source(name)).splitlines() if re.search(r"\d", line)]
    assert typed == []


def test_the_search_for_typed_numerals_finds_one():
    assert re.search(r"\d", prose("The best sparsity is 0.94 at {glue:text}`budget` FLOPs."))
    assert not re.search(
        r"\d", prose("At $10^{12}$ FLOPs, `S = 0` and {glue:text}`x1`.\n\n```{code-cell}\nx = 3\n```\n")
    )


@pytest.mark.parametrize("name", NAMES)
def test_cells_hold_calls_not_logic(name):
    for cell in code_cells(source(name)):
        tree = ast.parse(cell)
        for node in ast.walk(tree):
            assert not isinstance(node, ast.ClassDef | ast.Try | ast.While | ast.Lambda), cell
        assert len(cell.splitlines()) <= 22, f"a cell of {len(cell.splitlines())} lines hides logic:\n{cell}"


@pytest.mark.parametrize("name", NAMES)
def test_cells_that_readers_see_fit_the_page(name):
    hidden = r"^```\{code-cell\}[^\n]*\n:tags: \[(?:remove|hide)-(?:cell|input)\].*?^```$"
    shown = re.sub(hidden, "", source(name), flags=re.DOTALL | re.MULTILINE)
    for cell in code_cells(shown):
        for line in cell.splitlines():
            assert len(line) <= 96, f"{name}: scrolls sideways: {line}"


def test_citations_and_bibliography_agree():
    entries = set(re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text(), re.MULTILINE))
    cited = set()
    for name in NAMES:
        for keys in re.findall(r"\{cite:\w+\}`([^`]+)`", source(name)):
            cited |= set(keys.split(","))
    assert cited == entries, "cited but not listed, or listed and never cited"


def test_every_chapter_is_in_the_table_of_contents():
    assert {path.stem for path in BOOK.glob("*.md")} == set(NAMES)


def test_the_configuration_lets_no_error_pass():
    settings = yaml.safe_load((BOOK.parent / "_config.yml").read_text())
    assert settings["sphinx"]["config"]["nb_execution_raise_on_error"] is True
    assert settings["execute"]["allow_errors"] is False
    assert settings["execute"]["stderr_output"] == "error"
    assert settings["execute"]["execute_notebooks"] == "force", "only the keyed cache may replace it"
