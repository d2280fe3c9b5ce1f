"""Checkpoints: a safetensors file and a state file, written so that a crash leaves the old one or the new.

The state file is the point of no return: it names its tensors file and their checksum, and is replaced
atomically after the tensors are on the disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex, write_atomic


class Checkpoint:
    """The newest state of one segment of a run, in `folder`, under `name`.

    Args:
        identity: what the state belongs to; a state of another identity is refused, never used.
    """

    def __init__(self, folder: Path, name: str, identity: str):
        self.path = Path(folder) / f"{name}.json"
        self.identity = identity

    def exists(self) -> bool:
        """Whether there is a state."""
        return self.path.exists()

    def write(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Replace the state. Raises InputError naming the file where the disk will not take it."""
        content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
        digest = sha256_hex(content)
        tensors_path = self.path.with_name(f"{self.path.stem}-{digest[:16]}.safetensors")
        write_atomic(tensors_path, content)
        whole = {"identity": self.identity, "tensors": tensors_path.name, "sha256": digest, "state": state}
        write_atomic(self.path, canonical_json(whole))
        self._drop_tensors(but=tensors_path.name)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The state, or None where there is none.

        Raises InputError naming the file where it is damaged or belongs to another configuration.
        """
        if not self.path.exists():
            return None
        try:
            whole = json.loads(self.path.read_text())
            identity, name, digest, state = (whole[k] for k in ("identity", "tensors", "sha256", "state"))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.path}: not a checkpoint's state: {error}") from error
        if identity != self.identity:
            raise InputError(
                f"{self.path}: identity: {identity}: checkpoint of another configuration (this run is "
                f"{self.identity}); give another folder or delete this one"
            )
        tensors_path = self.path.with_name(name)
        content = tensors_path.read_bytes() if tensors_path.exists() else b""
        if sha256_hex(content) != digest:
            raise InputError(f"{tensors_path}: damaged: its sha256 is not the one in {self.path.name}")
        return load(content), state

    def drop(self) -> None:
        """Remove the state."""
        self.path.unlink(missing_ok=True)
        self._drop_tensors(but="")

    def _drop_tensors(self, but: str) -> None:
        for old in self.path.parent.glob(f"{self.path.stem}-*.safetensors"):
            if old.name != but:
                old.unlink(missing_ok=True)


def training_tensors(model: torch.nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Weights and moments by name: `weight.<parameter>`, `mean.<parameter>`, `square.<parameter>`; and
    `buffer.<name>` for what else a model keeps (the biases of its routers)."""
    tensors = {f"buffer.{name}": buffer for name, buffer in _kept_buffers(model)}
    for name, parameter in model.named_parameters():
        tensors[f"weight.{name}"] = parameter
        state = optimizer.state.get(parameter)
        if state:
            tensors[f"mean.{name}"] = state["exp_avg"]
            tensors[f"square.{name}"] = state["exp_avg_sq"]
    return tensors


def _kept_buffers(model: torch.nn.Module) -> list[tuple[str, Tensor]]:
    kept = model.state_dict(keep_vars=True)
    return [(name, buffer) for name, buffer in model.named_buffers() if name in kept]


@torch.no_grad()
def restore_training(
    model: torch.nn.Module,
    optimizer: torch.optim.AdamW,
    tensors: dict[str, Tensor],
    step: int,
    put: Callable[[Tensor, Tensor], object] = Tensor.copy_,
) -> None:
    """Put weights and moments back, in place; `step` is the number of optimiser steps taken."""
    for name, buffer in _kept_buffers(model):
        put(buffer, tensors[f"buffer.{name}"])
    for name, parameter in model.named_parameters():
        put(parameter, tensors[f"weight.{name}"])
        state = optimizer.state[parameter]
        if not state:  # as the optimiser itself would begin
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"].fill_(step)
        for moment, stored in (("exp_avg", f"mean.{name}"), ("exp_avg_sq", f"square.{name}")):
            put(state[moment], tensors[stored]) if stored in tensors else state[moment].zero_()
