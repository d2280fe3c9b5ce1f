"""What is counted on paper is what torch holds and does, at every size of every study and beyond."""

from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from moebook.architecture import Family, ModelConfig, counts
from moebook.model import Decoder
from moebook.model.experts import Experts, experts_by_loop
from moebook.study import read_study

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yml"))
WIDTHS = (8, 12, 16, 24, 32, 40, 48, 64, 96, 128)
PARAMETERS = {  # by how a parameter's name begins, in a block or outside
    "embedding": "embedding", "output": "output", "norm": "norms", "attention.qkv": "attention",
    "attention.out": "attention", "attention.norm": "norms", "router_ED": "router", "experts": "experts",
    "shared": "shared experts",
}  # fmt: skip


def study_models():
    """Every model of every study: each width with each sparsity of each block."""
    models = {}
    for path in STUDIES:
        study = read_study(path)
        for block in study.grid:
            for width in block.widths:
                for sparsity in block.sparsities:
                    models[study.family.config(width, sparsity)] = f"{path.stem} {width} {sparsity:g}"
    return models


def ladder_models():
    """Widths to 128 with every sparsity of the studies, G = 1, 2, 4, with and without shared experts."""
    studied = study_models()
    sparsities = sorted({model.sparsity for model in studied})
    models = {}
    for granularity in (1, 2, 4):
        for shared in (0, 1):
            active = max(1, granularity - shared)
            family = Family(granularity=granularity, active=active, shared_experts=shared)
            for width in WIDTHS:
                for sparsity in sparsities:
                    models[family.config(width, sparsity)] = granularity, shared, width, sparsity
    return {model: name for model, name in models.items() if model not in studied}


def without_drawing(config):
    """A decoder whose parameters are zeros: the same products, and no time spent on random numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "_initialise", lambda self, *rest: None)
        model = Decoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


def torch_flops(config, backward=False):
    """What torch counts for one sequence, by module and in all ("Global").

    It knows no grouped_mm and no fused attention of the CPU: the loop over experts and plain attention are
    the same products.
    """
    model = without_drawing(config)
    counter = FlopCounterMode(display=False)
    tokens_BN = torch.zeros(1, config.context, dtype=torch.int64)
    with pytest.MonkeyPatch.context() as patch, torch.set_grad_enabled(backward):
        patch.setattr(Experts, "forward", lambda self, x, expert, weight: experts_by_loop(
            x, expert, weight, self.in_EDF2, self.out_EFD))
        with counter, sdpa_kernel(SDPBackend.MATH):
            out = model(tokens_BN)
            if backward:
                out.logits_BNV.sum().backward()
    return {name: sum(found.values()) for name, found in counter.get_flop_counts().items()}


def check(config):
    found = counts(config)
    held = dict.fromkeys(found.parameter_terms, 0)
    for name, parameter in without_drawing(config).named_parameters():
        inside = name.split(".", 2)[2] if name.startswith("blocks.") else name
        held[PARAMETERS[max((key for key in PARAMETERS if inside.startswith(key)), key=len)]] += (
            parameter.numel()
        )
    assert held == found.parameter_terms
    assert 3 * torch_flops(config)["Global"] == found.flops_per_token * config.context


@pytest.mark.parametrize("config", study_models(), ids=study_models().values())
def test_parameters_and_flops_of_every_study_are_torchs(config):
    check(config)


@pytest.mark.slow
@pytest.mark.parametrize("granularity", [1, 2, 4])
@pytest.mark.parametrize("shared", [0, 1])
def test_parameters_and_flops_of_the_ladder_are_torchs(granularity, shared):
    models = [m for m, name in ladder_models().items() if name[:2] == (granularity, shared)]
    assert len(models) > 30 or (granularity, shared) == (2, 0)
    for config in models:
        check(config)


@pytest.mark.parametrize("config", [
    Family().config(32, 0), Family().config(32, 0.75),
    Family(granularity=4, active=3, shared_experts=1).config(24, 0.5),
], ids=["dense", "sparse", "shared"])  # fmt: skip
def test_the_backward_pass_counted_by_torch_is_twice_the_forward_pass(config):
    assert torch_flops(config, backward=True)["Global"] == counts(config).flops_per_token * config.context


def test_terms_are_those_of_torchs_modules():
    config = Family(granularity=4, active=3, shared_experts=1).config(32, 0.75)
    terms, found = counts(config).flop_terms, torch_flops(config)

    def measured(part):
        return 3 * sum(found[f"Decoder.blocks.{i}{part}"] for i in range(config.layers)) / config.context

    assert measured(".attention") == terms["attention projections"] + terms["attention scores"]
    assert measured(".attention.qkv") + measured(".attention.out") == terms["attention projections"]
    assert measured(".experts") == terms["experts"]
    assert measured("") - measured(".attention") - measured(".experts") == (
        terms["shared experts"] + terms["router"]  # computed in the block itself
    )
    assert 3 * found["Decoder.output"] / config.context == terms["output"]


def test_the_parameters_that_are_not_active_are_those_a_token_does_not_touch():
    config = ModelConfig(
        width=16, ffn_width=32, heads=1, granularity=2, experts=7, active=3, shared_experts=2
    )
    model = Decoder(config)
    out = model(torch.tensor([[5]]))
    out.logits_BNV.square().sum().backward()  # not its auxiliary losses: they see every expert's logit
    idle = sum(
        expert.numel()
        for block in model.blocks
        for stack in (block.experts.in_EDF2, block.experts.out_EFD)
        for expert in stack.grad
        if not expert.any()
    )
    assert counts(config).params - counts(config).params_active == idle > 0
