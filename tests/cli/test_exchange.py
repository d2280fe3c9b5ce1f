"""`moebook export` and `moebook import` as a shell sees them."""

import json
import os
import resource
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from moebook.architecture import ModelConfig
from moebook.cli import app
from moebook.errors import InputError
from moebook.model.stored import load_run

WRITTEN = {
    "config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "README.md", "moebook.json",
}  # fmt: skip


def moebook(*words, **more):
    return subprocess.run([sys.executable, "-m", "moebook", *words], capture_output=True, text=True, **more)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A place with one run, `out/first`, trained by the command."""
    root = tmp_path_factory.mktemp("runs")
    (root / "text").mkdir()
    lines = (json.dumps({"text": " ".join(str(n * n) for n in range(i, i + 50))}) for i in range(200))
    (root / "text" / "squares.jsonl").write_text("\n".join(lines))
    words = "train --width 16 --sparsity 0.75 --tokens 5120 --folder text --out out/first".split()
    done = moebook(*words, cwd=root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A copy of it to work in; `app` runs in this process there."""
    shutil.copytree(trained / "out", tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words):
    """The command in this process: only the shell's tests pay for a process of their own."""
    app(list(words), standalone_mode=False)


def refused(message, *words):
    with pytest.raises(InputError) as caught:
        run(*words)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_run_goes_to_transformers_and_back(place):
    done = moebook("export", "out/first", "--to", "hf", "out/hf")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (place / "out" / "hf").iterdir()} == WRITTEN
    assert (place / "out" / "hf").stat().st_mode & 0o777 == 0o755

    lines = done.stdout.splitlines()[-2:]  # what it says about loading is run as it stands
    names = {}
    exec("\n".join(lines), names)
    theirs, tokenizer = names["model"], names["tokenizer"]
    ours = load_run("out/first").model
    symbols = tokenizer("1 4 9 16 ", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert (theirs(symbols).logits - ours(symbols).logits_BNV).abs().max() <= 1e-5

    done = moebook("import", "out/hf", "--from", "hf", "--out", "out/again")
    assert done.returncode == 0, done.stderr
    names = {}
    exec("\n".join(done.stdout.splitlines()[-2:]), names)
    assert names["model"].config == ours.config
    first, again = load_file("out/first/model.safetensors"), load_file("out/again/model.safetensors")
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items()) and len(first) == len(
        again
    )
    assert {path.name for path in (place / "out" / "again").iterdir()} == {
        "config.json", "model.safetensors", "moebook.json",
    }  # fmt: skip

    run("export", "out/again", "--to", "hf", "out/hf2")
    both = contents(place / "out" / "hf"), contents(place / "out" / "hf2")
    differ = {name for name in both[0] if both[0][name] != both[1][name]}
    assert differ == {"README.md", "config.json", "moebook.json"}  # the record does not come along
    one, two = (json.loads(files["config.json"]) for files in both)
    assert {name for name in one if one[name] != two[name]} == {"router_aux_loss_coef"}
    run("import", "out/hf2", "--from", "hf", "--out", "out/third")
    assert contents(place / "out" / "third") == contents(place / "out" / "again")


def test_the_card_says_what_was_trained(place):
    run("export", "out/first", "--to", "hf", "out/hf")
    record = json.loads((place / "out" / "first" / "record.json").read_text())
    card = (place / "out" / "hf" / "README.md").read_text()
    measures, text = record["measures"], record["config"]["text"]
    for part in (
        record["key"], text["name"], text["sha256"],
        f"{measures['loss_nats']:.4f}", f"{measures['params']:,}",
        "5,120 tokens", f"{measures['compute_flops']:.4g} FLOPs", "0.75", "2 of 8 experts", "from_pretrained",
    ):  # fmt: skip
        assert part in card, part
    assert str(place) not in card
    coefficient = json.loads((place / "out" / "hf" / "config.json").read_text())["router_aux_loss_coef"]
    assert coefficient == record["config"]["recipe"]["balance_weight"] / 2


def test_export_again_replaces_only_what_it_wrote(place):
    words = ["export", "out/first", "--to", "hf", "out/hf"]
    run(*words)
    before = contents(place / "out" / "hf")
    run(*words)
    assert contents(place / "out" / "hf") == before

    card = place / "out" / "hf" / "README.md"
    card.write_text("my own card")
    refused("out/hf: holds other files, or changed ones", *words)
    assert card.read_text() == "my own card"
    run(*words, "--force")
    assert contents(place / "out" / "hf") == before

    (place / "out" / "hf" / "notes.txt").write_text("mine")
    refused("out/hf: holds other files, or changed ones", *words)
    (place / "out" / "hf" / "notes.txt").unlink()

    AutoModelForCausalLM.from_pretrained("out/hf").save_pretrained("out/hf")  # as after a fine-tuning there
    AutoTokenizer.from_pretrained("out/hf").save_pretrained("out/hf")
    refused("out/hf: holds other files, or changed ones", *words)
    assert sorted(path.name for path in (place / "out").iterdir()) == ["first", "hf"]  # nothing left behind


def test_an_empty_folder_is_used_and_a_foreign_one_is_not(place):
    (place / "empty").mkdir()
    run("export", "out/first", "--to", "hf", "empty")
    assert {path.name for path in (place / "empty").iterdir()} == WRITTEN
    (place / "mine").mkdir()
    (place / "mine" / "thesis.txt").write_text("years")
    before = contents(place)
    refused("mine: holds other files", "export", "out/first", "--to", "hf", "mine")
    refused("mine: holds other files", "import", "empty", "--from", "hf", "--out", "mine")
    refused("thesis.txt", "export", "out/first", "--to", "hf", "mine/thesis.txt")
    assert contents(place) == before
    run("import", "empty", "--from", "hf", "--out", "mine", "--force")
    assert not (place / "mine" / "thesis.txt").exists()


@pytest.mark.parametrize("target", ["out", "out/first", ".", ".."])
def test_a_folder_around_the_run_or_around_oneself_is_never_replaced(place, target):
    before = contents(place)
    refused("cannot be replaced: it holds", "export", "out/first", "--to", "hf", target, "--force")
    refused("cannot be replaced: it holds", "import", "out/first", "--from", "hf", "--out", target, "--force")
    assert contents(place) == before


def damage(place, what):
    first = place / "out" / "first"
    weights, record = first / "model.safetensors", first / "record.json"
    match what:
        case "no run":
            shutil.rmtree(first)
        case "no record":
            record.unlink()
        case "no weights":
            weights.unlink()
        case "half the weights":
            weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
        case "edited record":
            record.write_text(record.read_text().replace('"seed":0', '"seed":1'))
        case "half a record":
            record.write_text(record.read_text()[:100])
        case "other shape":
            tensors = load_file(weights)
            save_file(tensors | {"output.weight": tensors["output.weight"][:, :8].contiguous()}, weights)
        case "other type":
            save_file({name: tensor.half() for name, tensor in load_file(weights).items()}, weights)
        case "a weight too many":
            save_file(load_file(weights) | {"blocks.7.router_ED": torch.zeros(2)}, weights)
        case "a weight too few":
            save_file({n: t for n, t in load_file(weights).items() if n != "norm.weight"}, weights)


@pytest.mark.parametrize("what, message", [
    ("no run", "out/first: no such folder"),
    ("no record", "out/first: neither record.json nor config.json"),
    ("no weights", "out/first/model.safetensors: missing"),
    ("half the weights", "out/first/model.safetensors: damaged, or not safetensors"),
    ("edited record", "out/first/record.json: sha256"),
    ("half a record", "out/first/record.json: half-written or not JSON"),
    ("other shape", "model.safetensors: output.weight: [256, 8] of torch.float32: must be [256, 16]"),
    ("other type", "of torch.float16: must be"),
    ("a weight too many", "model.safetensors: blocks.7.router_ED: not a weight of this model"),
    ("a weight too few", "model.safetensors: norm.weight: missing"),
])  # fmt: skip
def test_a_run_that_cannot_be_exported_leaves_nothing_behind(what, message, place):
    damage(place, what)
    before = contents(place)
    refused(message, "export", "out/first", "--to", "hf", "out/hf")
    assert contents(place) == before and not (place / "out" / "hf").exists()


@pytest.mark.parametrize("option, message", [
    (["--shared-experts", "1"], "model: shared_experts: 1: OLMoE has no such field"),
    (["--balance", "bias"], "model: blocks.0.bias_E: OLMoE has neither selection biases"),
])  # fmt: skip
def test_options_that_olmoe_lacks_are_refused(option, message, trained, place):
    words = f"train --width 8 --sparsity 0.5 --tokens 1024 --folder {trained}/text --out out/other".split()
    done = moebook(*words, *option)
    assert done.returncode == 0, done.stderr
    load_run("out/other")
    refused(message, "export", "out/other", "--to", "hf", "out/hf")
    assert not (place / "out" / "hf").exists()


def test_the_shell_gets_one_line_and_code_two(place):
    for words, message in (
        (["export", "out/first", "--to", "gguf", "out/hf"], "export: --to: gguf: only hf is known"),
        (["import", "out/first", "--from", "gguf", "--out", "x"], "import: --from: gguf: only hf is known"),
        (["import", "out/first", "--from", "hf", "--out", "x"], "out/first/config.json: missing"),
        (["export", "out/missing", "--to", "hf", "x"], "out/missing: no such folder"),
    ):
        done = moebook(*words)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and message in done.stderr
        assert not (place / "x").exists()


def test_a_checkpoint_of_transformers_is_not_taken_for_an_imported_model(place):
    run("export", "out/first", "--to", "hf", "out/hf")
    refused("config.json: model_type: 'olmoe': transformers': import it first", "export", "out/hf", "x")
    (place / "out" / "hf" / "config.json").write_text('{"format": 2}')
    refused("config.json: format: 2: only format 1 is known", "export", "out/hf", "x")
    (place / "out" / "hf" / "config.json").write_text('{"format": 1, "model": {"width": 8, "depth": 2}}')
    refused("config.json: model: ", "export", "out/hf", "x")


def test_a_full_disk_leaves_the_earlier_export(place):
    run("export", "out/first", "--to", "hf", "out/hf")
    before = contents(place / "out")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))  # noqa: E731
    done = moebook("export", "out/first", "--to", "hf", "out/hf", preexec_fn=limit)
    assert done.returncode == 2 and "cannot be written" in done.stderr and done.stderr.count("\n") == 1
    assert contents(place / "out") == before


def test_moebook_writes_without_transformers(place):
    blocked = "import sys; sys.modules['transformers'] = sys.modules['tokenizers'] = None\n"
    code = blocked + (
        "from moebook.cli import app\n"
        "app('export out/first --to hf out/hf'.split(), standalone_mode=False)\n"
        "app('import out/hf --from hf --out out/again'.split(), standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert load_run("out/again").model.config == ModelConfig(
        width=16, ffn_width=32, heads=1, granularity=2, experts=8, active=2
    )
