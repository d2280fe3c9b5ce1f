import math

import pytest
import torch

from moebook.architecture import Family
from moebook.model import Decoder


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


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
