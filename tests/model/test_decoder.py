import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from moebook.architecture import Family, counts
from moebook.model import Decoder
from moebook.model.experts import experts_by_loop


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("width", [16, 24, 48, 64])
@pytest.mark.parametrize("sparsity", [0, 0.75, 0.9375])
def test_counted_flops_are_torchs(width, sparsity):
    config = Family().config(width, sparsity)
    model = Decoder(config)
    if config.routed:  # torch's counter does not know grouped_mm: count the loop, the same products
        for block in model.blocks:
            experts = block.experts
            experts.forward = lambda x, e, w, experts=experts: experts_by_loop(
                x, e, w, experts.in_EDF2, experts.out_EFD
            )
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # nor the fused attention of the CPU
        model(torch.zeros(2, config.context, dtype=torch.int64))
    assert 3 * counter.get_total_flops() == counts(config).flops_per_token * 2 * config.context


def test_a_token_never_sees_what_follows(generator):
    model = Decoder(Family(context=32).config(32, 0.75))
    tokens = torch.randint(256, (1, 32), generator=generator)
    changed = tokens.clone()
    changed[0, 20:] = 7
    with torch.no_grad():
        a, b = model(tokens).logits_BNV, model(changed).logits_BNV
    torch.testing.assert_close(a[:, :20], b[:, :20])
    assert not torch.allclose(a[:, 20:], b[:, 20:])


def test_untrained_loss_is_that_of_a_uniform_guess(generator):
    model = Decoder(Family().config(32, 0.75))
    tokens = torch.randint(256, (4, 129), generator=generator)
    with torch.no_grad():
        out = model(tokens[:, :-1])
    loss = torch.nn.functional.cross_entropy(out.logits_BNV.flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(256), abs=0.05)
    assert out.load_LE.shape == (2, 8) and out.load_LE.sum(1).tolist() == pytest.approx([1, 1])


def test_same_seed_same_model_other_seed_other_model():
    config = Family().config(16, 0.75)
    a, b, c = (Decoder(config, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["embedding.weight"], c["embedding.weight"])
