"""A study file means what it says, or is refused by file, field and value."""

import re

import pytest

from moebook.architecture import Family
from moebook.errors import InputError
from moebook.study import plan, read_study
from moebook.train import Recipe, TextIdentity

TEXT = TextIdentity("tiny", "ab" * 32)


def test_a_study_file_becomes_typed_values(write_study):
    study = read_study(write_study())
    assert study.family == Family(layers=1, context=32)
    first, second = study.grid
    assert first.budgets == (1e8, 3e8) and first.sparsities == (0.0, 0.75) and first.seeds == (0,)
    assert second.budgets == (3e8,) and second.seeds == (0, 1) and second.recipe == Recipe(warmup_tokens=512)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title:", "titel:", "titel: unknown field"),
        ("name: tiny\n", "", "name: missing"),
        ("layers: 1", "layers: 0", "family: layers: 0"),
        ("layers: 1", "layers: yes", "family: layers: True"),
        ("layers: 1", "depth: 1", "family: depth: unknown field"),
        ("layers: 1", "shared_experts: -1", "family: shared_experts: -1"),
        ("layers: 1", "shared_experts: 0.5", "family: shared_experts: 0.5"),
        ("widths: [8]", "widths: [8], family: {granularity: 0}", "grid[0]: family: granularity: 0"),
        ("widths: [8]", "widths: [8], family: 4", "grid[0]: family: 4"),
        ("warmup_tokens: 512", "bias_rate: -0.001", "recipe: bias_rate: -0.001"),
        ("warmup_tokens: 512", "bias_rate: fast", "recipe: bias_rate: 'fast'"),
        ("warmup_tokens: 512", "query_key_scale: 0", "recipe: query_key_scale: 0"),
        ("warmup_tokens: 512", "warmup_tokens: many", "recipe: warmup_tokens: 'many'"),
        ("warmup_tokens: 512", "learning_rate: -1", "recipe: learning_rate: -1"),
        ("warmup_tokens: 512", "precision: fp8", "recipe: precision: 'fp8'"),
        ("source: folder", "source: web", "text: source: 'web'"),
        ("source: folder, ", "", "text: source: missing"),
        ("[1e8, 3e8]", "[1e8, -3e8]", "grid[0]: budgets: '-3e8'"),
        ("[1e8, 3e8]", "[1e8, lots]", "grid[0]: budgets: 'lots'"),
        ("[1e8, 3e8]", "[]", "grid[0]: budgets: []"),
        ("[1e8, 3e8]", "[1e8, 1.0e+8]", "without repeats"),
        ("[0, 3/4]", "[0, 4/4]", "sparsities: '4/4'"),
        ("[0, 3/4]", "[0, 0.7]", "grid[0]: width 8, sparsity 0.7"),
        ("[0, 3/4]", "[0, .nan]", "sparsities: nan"),
        ("widths: [8]", "widths: [9]", "width: 9"),
        ("widths: [8]", "widths: [8.5]", "grid[0]: widths: 8.5"),
        ("seeds: [0]", "seeds: [-1]", "seeds: -1"),
        ("seeds: [0]", "seeds: [0]\nseeds: [1]", "seeds is given twice"),
        ("grid:", "grid: {", "not YAML"),
        ("title:", "title: 2026-13-45 #", "not YAML: month must be in"),
        ("title:", "? [a, b]\n: c\ntitle:", "['a', 'b'] is no field's name"),
        ("title:", "x: " + 3000 * "[" + "\ntitle:", "not YAML"),
        ("title:", "purpose: done\ntitle:", "purpose: 'done': must be a word, and none of the statuses"),
        ("title:", "purpose: to tune\ntitle:", "purpose: 'to tune': must be a word"),
        ("title:", "rate_sparsity_power: -1000\ntitle:", "grid[0]: width 8, sparsity 0.75: rate_sparsity_"),
        ("title:", "rate_sparsity_power: 1000\ntitle:", "power: 1000: makes a learning rate of 0"),
        ("[1e8, 3e8]", "[1e8, 1e308]", "budgets: '1e308': must be a number of FLOPs from 1 to 1e30"),
        ("widths: [8]", "widths: [1e300]", "widths: '1e300': must be a whole number from 1 to 1048576"),
        ("seeds: [0]", f"seeds: [{2**53 + 1}]", f"seeds: {2**53 + 1}: must be a whole number"),
        ("layers: 1", "vocab: 10", "family: vocab: 10: must be at least 256: the text has 256 symbols"),
        ("widths: [8]", "widths: [8], family: {vocab: 255}", "grid[0]: family: vocab: 255: must be at least"),
        ("context: 32", "context: 1", "family: context: 1: must be at least 2"),
        ("layers: 1", "layers: 1" + 400 * "0", "family: layers: a number of 401 digits"),
    ],
)
def test_a_bad_field_is_named_with_its_file_and_value(write_study, old, new, words):
    path = write_study()
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        read_study(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and words in message and "\n" not in message


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("sparsities: [2]", "sparsities: 2: must lie in [0, 1)"),
        ("seeds: [0, 0]", "seeds: [0, 0]: must be a list without repeats"),
        ("seeds: []", "seeds: []: must be a list"),
    ],
)
def test_a_value_that_every_block_overrides_must_be_sound(write_study, tiny, field, words):
    start, grid = tiny.replace("sparsities: [0, 3/4]\nseeds: [0]\n", "").split("grid:")
    blocks = grid.replace(", seeds: [0, 1], sparsities: 0", "").replace("}", ", seeds: 0, sparsities: 0}")
    assert read_study(write_study(f"{start}grid:{blocks}")).grid[1].seeds == (0,)
    path = write_study(f"{start}{field}\ngrid:{blocks}")
    with pytest.raises(InputError, match="^" + re.escape(f"{path}: {words}")):
        read_study(path)


def test_a_block_may_have_models_of_its_own(write_study, tiny):
    block = "widths: [8], family: {granularity: 1, active: 1}"
    study = read_study(write_study(tiny.replace("widths: [8]", block)))
    own, others = study.grid
    assert own.family == Family(layers=1, context=32, granularity=1, active=1)
    assert others.family == study.family
    sparse = {trunk.model for trunk in plan(study, TEXT) if trunk.model.sparsity > 0}
    assert {(model.granularity, model.active, model.experts) for model in sparse} == {(1, 1, 4)}
