"""Two steps of training of four tiny models; prints their losses and what the weights came to, as JSON.

`python tests/model/one_step.py [dense] [warm] [without-numba]`: the dense model alone; with memory kept warm;
as where there is no numba.
"""

import hashlib
import json
import sys

if "without-numba" in sys.argv:
    sys.modules["numba"] = None

import torch

import moebook
from moebook.architecture import Family
from moebook.model import Decoder, fused, next_token_loss
from moebook.train.memory import keep_memory_warm

MODELS = {
    "dense": (Family(context=16).config(16, 0), False),
    "K2 E8": (Family(context=16).config(16, 0.75), False),
    "K1 E4 biased": (Family(context=16, granularity=1, active=1).config(12, 0.75), True),
    "shared": (Family(context=16, active=1, shared_experts=1).config(16, 0.75), False),
}


def two_steps(config, biased: bool) -> tuple[list[float], str]:
    """Losses in nats, and the sha256 of the weights after both steps."""
    model = Decoder(config, biased=biased)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens_BN = torch.randint(256, (9, 17), generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(2):
        out = model(tokens_BN[:, :-1])
        loss = next_token_loss(out.logits_BNV, tokens_BN[:, 1:])
        (loss + 0.01 * out.balance_loss + 0.001 * out.z_loss).backward()
        optimizer.step()
        optimizer.zero_grad()
        model.shift_biases(out.load_LE, 0.01)
        losses.append(loss.item())
    weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    return losses, hashlib.sha256(weights).hexdigest()


if __name__ == "__main__":
    torch.set_num_threads(1)
    warm = keep_memory_warm() if "warm" in sys.argv else False
    found = {name: two_steps(*MODELS[name]) for name in (["dense"] if "dense" in sys.argv else MODELS)}
    state = {"fused": fused.AVAILABLE, "warm": warm, "source": moebook.__file__}
    print(json.dumps({"found": found, **state}))
