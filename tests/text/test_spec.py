"""The description of a text: typed, hashable, and clear about what is wrong with one."""

import subprocess
import sys

import pytest

from moebook.errors import InputError
from moebook.text import TextSpec


def test_from_a_mapping_as_yaml_gives_it():
    spec = TextSpec.from_mapping(
        {"source": "folder", "name": "english", "files": ["wiki", "books"]}, "a.yaml"
    )
    assert spec == TextSpec("folder", "english", ("wiki", "books"))
    assert hash(spec) == hash(TextSpec("folder", "english", ("wiki", "books")))
    assert TextSpec.from_mapping(spec.to_mapping()) == spec


def test_label_and_expected_checksum_do_not_change_what_is_prepared():
    spec = TextSpec("folder", "english")
    assert TextSpec("folder", "other", sha256="0" * 64).preparation() == spec.preparation()
    assert TextSpec("folder", "english", heldout_share=0.03).preparation() != spec.preparation()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "web"}, "source: 'web': must be one of packages, folder, huggingface"),
        ({"name": "En glish"}, "name: 'En glish'"),
        ({"files": "wiki"}, "files: 'wiki': must be a list"),
        ({"files": 3}, "files: 3: must be a list"),
        ({"heldout_share": 0}, "heldout_share: 0.0: must be above 0"),
        ({"heldout_share": "2 %"}, "heldout_share: '2 %': must be a number"),
        ({"heldout_share": float("nan")}, "heldout_share: nan"),
        ({"train_bytes": -1}, "train_bytes: -1: must be a whole number"),
        ({"train_bytes": True}, "train_bytes: True"),
        ({"sha256": "abc"}, "sha256: 'abc': must be 64"),
        ({"dataset": "x"}, "dataset: 'x'"),
        ({"source": "huggingface"}, "dataset: ''"),
        ({"heldout": 1}, "heldout: 1: unknown field"),
    ],
)
def test_refused_with_the_field_and_its_value(change, message):
    mapping = {"source": "folder", "name": "english"} | change
    with pytest.raises(InputError) as caught:
        TextSpec.from_mapping(mapping, "studies/quick.yaml")
    assert str(caught.value).startswith("studies/quick.yaml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mapping", [None, [], {"name": "x"}, {"source": "folder"}])
def test_refused_where_there_is_no_text(mapping):
    with pytest.raises(InputError, match=r"^a\.yaml: "):
        TextSpec.from_mapping(mapping, "a.yaml")


def test_the_room_imports_with_numpy_alone():
    code = "import sys, moebook.text; print(*{name.partition('.')[0] for name in sys.modules})"
    found = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    unwanted = {"torch", "pandas", "pymc", "rich", "typer", "datasets", "zstandard", "yaml", "scipy"}
    assert "numpy" in found and not found & unwanted
