"""One step of training: forward, backward, clipping, update. Nothing in it waits for the device.

Shapes: B sequences, N + 1 tokens of one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moebook.model import Decoder, next_token_loss
from moebook.train.evaluate import autocast
from moebook.train.recipe import Recipe


class Step:
    """The step of one model: called with a batch, it changes the model and gives the loss before the change.

    Args:
        rate: what holds the learning rate; a tensor where it must not be read by the host.
        capturable: the optimiser's: its count of steps stays on the device.

    Attributes:
        model, optimizer: what the step changes.
        decayed: the parameters that weight decay is for, the matrices.
    """

    def __init__(self, model: Decoder, recipe: Recipe, rate: float | Tensor = 0.0, capturable: bool = False):
        self.model, self.recipe = model, recipe
        self.device = next(model.parameters()).device
        self.decayed = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": self.decayed}, {"params": plain}], lr=rate, betas=(recipe.beta1, recipe.beta2),
            eps=recipe.epsilon, weight_decay=0.0, fused=True, capturable=capturable,
        )  # fmt: skip

    def __call__(self, batch_BN: np.ndarray, rate: float) -> Tensor:
        """Take the step with uint8 tokens [B, N + 1]; the mean loss in nats, a scalar on the device."""
        self.set_rate(rate)
        return self.take(torch.from_numpy(batch_BN).to(self.device, torch.int64, non_blocking=True))

    def set_rate(self, rate: float) -> None:
        """The learning rate of the steps to come; what decays does so at the recipe's own rate."""
        decayed, plain = self.optimizer.param_groups
        decayed["lr"] = plain["lr"] = rate
        decayed["weight_decay"] = self.recipe.weight_decay / rate  # torch multiplies it by the rate

    def take(self, tokens_BN: Tensor) -> Tensor:
        """The step itself, with int64 tokens on the device."""
        recipe = self.recipe
        with autocast(self.device, recipe.precision):
            out = self.model(tokens_BN[:, :-1])
        loss = next_token_loss(out.logits_BNV, tokens_BN[:, 1:])
        (loss + recipe.balance_weight * out.balance_loss + recipe.z_weight * out.z_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        self.optimise()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.shift_biases(out.load_LE, recipe.bias_rate)
        return loss.detach()

    def optimise(self) -> None:
        """Change the parameters by their gradients."""
        self.optimizer.step()
