"""The whole decoder: fused against plain, with weights that are no numbers, and the same in every process."""

import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import moebook
from moebook.architecture import Family, ModelConfig
from moebook.model import Decoder, fused, next_token_loss

PROGRAM = Path(__file__).with_name("one_step.py")
PACKAGE = Path(moebook.__file__).parent
MODELS = {
    "dense": (Family(context=16).config(16, 0), False),
    "K2 E8": (Family(context=16).config(16, 0.75), False),
    "K1 E8, biased": (Family(context=16, granularity=1, active=1).config(24, 0.875), True),
    "shared": (Family(context=16, active=1, shared_experts=1).config(12, 0.75), False),
    "odd": (ModelConfig(
        vocab=37, context=16, layers=1, width=6, heads=3, ffn_width=10, granularity=2, experts=70, active=5,
        shared_experts=2, renormalise=False,
    ), True),
}  # fmt: skip


def some_tokens(vocab, batch=9, length=16):
    return torch.randint(vocab, (batch, length + 1), generator=torch.Generator().manual_seed(0))


def loss_of(model, tokens_BN):
    out = model(tokens_BN[:, :-1])
    loss = next_token_loss(out.logits_BNV, tokens_BN[:, 1:])
    return out, loss, loss + 0.1 * out.balance_loss + 0.01 * out.z_loss


def gradients(name, dtype):
    """Logits, losses and gradients of a model whose weights, norms' scales too, are all different."""
    config, biased = MODELS[name]
    model = Decoder(config, biased=biased).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += torch.randn(parameter.shape, generator=generator).to(dtype) / 4
        for block in model.blocks:
            if block.bias_E is not None:
                block.bias_E += torch.linspace(-0.05, 0.05, config.experts)
    out, loss, total = loss_of(model, some_tokens(config.vocab))
    total.backward()
    named = {"logits": out.logits_BNV, "loss": loss, "balance": out.balance_loss, "z": out.z_loss,
             "load": out.load_LE}  # fmt: skip
    return named | {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 2e-5)], ids=str)
def test_the_fused_decoder_is_the_plain_one(name, dtype, tolerance, monkeypatch):
    assert fused.takes(torch.zeros(1, dtype=dtype))
    found = gradients(name, dtype)
    monkeypatch.setattr("moebook.model.fused.common.AVAILABLE", False)
    assert not fused.takes(torch.zeros(1, dtype=dtype))
    plain = gradients(name, dtype)
    for key, truth in plain.items():
        error, largest = (found[key] - truth).abs().max().item(), truth.abs().max().item()
        assert largest > 0 or key in ("balance", "z"), key
        assert error <= tolerance * largest, f"{key}: {error:.1e} of {largest:.1e}"


SPOILT = "K2 E8", "shared", "dense"


@pytest.mark.parametrize("plain", [False, True], ids=["fused", "plain"])
@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("name", SPOILT)
def test_a_weight_that_is_no_number_makes_the_loss_none(name, value, plain, monkeypatch):
    """One number of one weight at a time, of every kind, first and last; backward does not crash.

    A stack of experts is spoilt in all of them: one without tokens does no harm.
    """
    if plain:
        monkeypatch.setattr("moebook.model.fused.common.AVAILABLE", False)
    config, biased = MODELS[name]
    tokens_BN = some_tokens(config.vocab)
    for which, _ in Decoder(config, biased=biased).named_parameters():
        for place in (0, -1):
            model = Decoder(config, biased=biased)
            weight = model.get_parameter(which)
            with torch.no_grad():
                if which == "embedding.weight":
                    weight[tokens_BN[0, place - (place < 0)], place] = value
                elif weight.ndim == 3:
                    weight[:, place, place] = value
                else:
                    weight.view(-1)[place] = value
            out, loss, total = loss_of(model, tokens_BN)
            assert not total.isfinite(), f"{which}[{place}]: {total}"
            if math.isnan(value):
                assert loss.isnan(), f"{which}[{place}]: {loss}"
            total.backward()
            assert out.load_LE.sum(1).tolist() == pytest.approx([1] * config.layers, abs=1e-5)


def run_python(*words, **environment):
    """What a new process prints, as JSON; an environment variable of None is taken away."""
    kept = os.environ | {"PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"} | environment
    environment = {name: value for name, value in kept.items() if value is not None}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def two_steps():
    """The program's models trained in this process."""
    spec = importlib.util.spec_from_file_location("one_step", PROGRAM)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda: {name: list(program.two_steps(*model)) for name, model in program.MODELS.items()}
    torch.set_num_threads(threads)


def test_the_same_bits_twice_in_this_process_and_in_another_with_nothing_compiled_before(two_steps, tmp_path):
    """And in a third, that finds what the second compiled and whose memory is kept warm."""
    here = two_steps()
    assert two_steps() == here
    compiled = {"NUMBA_CACHE_DIR": str(tmp_path)}
    cold = run_python(str(PROGRAM), **compiled)
    assert any(tmp_path.rglob("*.nbi")), "compiled anew, and kept"
    assert cold["fused"] and cold["source"] == str(PACKAGE / "__init__.py")
    assert cold["found"] == here
    again = run_python(str(PROGRAM), "warm", **compiled)
    assert again["found"] == here and again["warm"] == (platform.libc_ver()[0] == "glibc")


def test_without_numba_a_model_trains_to_the_same_loss(two_steps):
    plain = run_python(str(PROGRAM), "without-numba")
    assert not plain["fused"]
    for name, (losses, _) in two_steps().items():
        assert plain["found"][name][0] == pytest.approx(losses, rel=1e-5)


def test_where_nothing_can_be_written_the_kernels_are_compiled_all_the_same(two_steps, tmp_path):
    """Neither beside the sources nor in the user's folder: where a file stands, not even root makes one."""
    for source in PACKAGE.rglob("*.py"):
        copy = tmp_path / "moebook" / source.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
        (copy.parent / "__pycache__").touch()
    nowhere = {"NUMBA_CACHE_DIR": None, "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"}
    nowhere |= {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    found = run_python(str(PROGRAM), "dense", **nowhere)
    assert found["source"].startswith(str(tmp_path)) and found["fused"]
    assert found["found"]["dense"] == two_steps()["dense"]
    assert not any(tmp_path.rglob("*.nbi"))


@pytest.mark.slow
def test_nothing_is_read_or_written_out_of_bounds(tmp_path):
    """The spoilt weights and the odd model once more, where numba checks every index."""
    if "NUMBA_BOUNDSCHECK" in os.environ:
        pytest.skip("this is the run that checks")
    checks = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)} | checks
    words = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", __file__,
             "-k", "no_number and fused or decoder and odd"]  # fmt: skip
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert any(tmp_path.rglob("*.nbi"))
