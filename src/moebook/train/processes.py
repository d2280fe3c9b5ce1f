"""One model in the memory of several processes: FSDP2 under torchrun.

    torchrun --nproc-per-node 8 -m moebook train ... --shard

Each process keeps a share of every parameter, gradient and moment, gathers a block's weights when their turn
comes, and takes its share of the sequences of a batch. What is trained is what one process would train: the
norm that clips the gradient, and the load that the balance loss is of, are those of the whole batch.

Checkpoints hold whole tensors, so that a run goes on with another number of processes. The folder that they
are in need only be seen by the first process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moebook.errors import InputError
from moebook.model import Decoder
from moebook.model.decoder import RMSNorm
from moebook.train.checkpoint import Checkpoint
from moebook.train.graph import training_step
from moebook.train.recipe import Recipe
from moebook.train.step import Step


class Alone:
    """One process that has the model to itself: what a run is trained by if nothing is said.

    Attributes:
        first: whether this process is the one that writes files and talks.
        size: how many there are.
    """

    first, size = True, 1
    device: torch.device | None = None  # where it is not the caller's to choose

    def share(self, model: Decoder, device: torch.device) -> Decoder:
        """The model on its device, each process with its share."""
        return model.to(device)

    def step(self, model: Decoder, recipe: Recipe, compiled: bool) -> Step:
        """What takes the steps of a model that `share` gave."""
        return training_step(model, recipe, compiled)

    def checkpoint(self, folder: Path, name: str, identity: str) -> Checkpoint:
        """A checkpoint of a model that `share` gave."""
        return Checkpoint(folder, name, identity)

    def agree(self, value: Any) -> Any:
        """The first process's value."""
        return value

    def total(self, value: float) -> float:
        """The sum over processes."""
        return value

    def put(self, into: Tensor, stored: Tensor | None) -> None:
        """Copy a whole tensor, which the first process has, into one that may be shared out."""
        into.copy_(stored)

    def weights(self, model: Decoder) -> dict[str, Tensor]:
        """The model's whole state, in the first process; empty in others."""
        return dict(model.state_dict())

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """What the first process does in here, it does before the others: they find what it prepared."""
        if not self.first:
            self.agree(None)
        yield
        if self.first:
            self.agree(None)

    def part(self) -> None:
        """Nothing is said between the processes any more."""


class Processes(Alone):
    """The processes that torchrun has started; see `start`."""

    def __init__(self, device: torch.device):
        import torch.distributed as dist

        self.dist, self.device = dist, device
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.first = self.rank == 0

    def share(self, model: Decoder, device: torch.device) -> Decoder:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(device.type, (self.size,))
        for module in model.modules():
            if isinstance(module, RMSNorm):
                module.lent = True
        for block in model.blocks:  # moved to the device one at a time: all of them may not fit
            block.everywhere = self.mean
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model.to(device)  # buffers

    def step(self, model: Decoder, recipe: Recipe, compiled: bool) -> Step:
        return ShardedStep(model, recipe, self)

    def checkpoint(self, folder: Path, name: str, identity: str) -> Checkpoint:
        return SharedCheckpoint(folder, name, identity, self)

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over processes, without a gradient."""
        tensor = tensor.detach().clone()
        self.dist.all_reduce(tensor)
        return tensor / self.size

    def agree(self, value: Any) -> Any:
        told = [value]
        self.dist.broadcast_object_list(told, device=self.device)
        return told[0]

    def total(self, value: float) -> float:
        summed = torch.tensor(value, dtype=torch.float64, device=self.device)
        self.dist.all_reduce(summed)
        return summed.item()

    def put(self, into: Tensor, stored: Tensor | None) -> None:
        whole = stored if self.first else torch.empty(into.shape, dtype=into.dtype)
        whole = whole.to(self.device, into.dtype)
        if not hasattr(into, "placements"):
            self.dist.broadcast(whole, 0)
            into.copy_(whole)
            return
        from torch.distributed.tensor import distribute_tensor

        into.copy_(distribute_tensor(whole, into.device_mesh, into.placements))

    def weights(self, model: Decoder) -> dict[str, Tensor]:
        return self.whole(dict(model.state_dict()))

    def whole(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors in the first process, gathered one by one; empty in others."""
        found = {}
        for name, tensor in tensors.items():
            if hasattr(tensor, "full_tensor"):
                tensor = tensor.full_tensor()
            if self.first:
                found[name] = tensor.detach().cpu()
        return found


    def part(self) -> None:
        self.dist.destroy_process_group()


ALONE = Alone()


def start_processes(batch_sequences: int) -> Processes:
    """Join the processes that torchrun has started, each on its own GPU, or all on the CPU.

    Raises InputError where this process was not started by torchrun, or a batch cannot be split evenly.
    """
    import torch.distributed as dist

    if "RANK" not in os.environ or not dist.is_available():
        line = "torchrun --nproc-per-node 2 -m moebook train ... --shard"
        raise InputError(f"train: --shard: needs processes to share the model among; start it so: {line}")
    size = int(os.environ["WORLD_SIZE"])
    if batch_sequences % size:
        raise InputError(
            f"recipe: batch_sequences: {batch_sequences}: must be a multiple of the {size} processes"
        )
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        device = torch.device("cpu")
        dist.init_process_group("gloo")
    return Processes(device)


class SharedCheckpoint(Checkpoint):
    """A checkpoint that all processes write and read together; its files are the first one's."""

    def __init__(self, folder: Path, name: str, identity: str, processes: Processes):
        super().__init__(folder, name, identity)
        self.processes = processes

    def exists(self) -> bool:
        return self.processes.agree(self.processes.first and super().exists())

    def write(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        whole = self.processes.whole(tensors)
        if self.processes.first:
            super().write(whole, state)

    def read(self) -> tuple[dict[str, Tensor | None], dict[str, Any]] | None:
        """The state; of the tensors, processes but the first have the names, and the losses."""
        found = super().read() if self.processes.first else None
        told = None
        if found is not None:
            tensors, state = found
            told = dict.fromkeys(tensors) | {"losses_nats": tensors["losses_nats"]}, state
        told = self.processes.agree(told)
        return found if self.processes.first else told

    def drop(self) -> None:
        if self.processes.first:
            super().drop()


class ShardedStep(Step):
    """The step of a model that is shared out: a process takes its share of the batch's sequences.

    Gradients are averaged over processes by FSDP, and so their mean is that of the whole batch's loss.
    """

    def __init__(self, model: Decoder, recipe: Recipe, processes: Processes):
        super().__init__(model, recipe)
        self.processes = processes

    def __call__(self, batch_BN: np.ndarray, rate: float) -> Tensor:
        share = len(batch_BN) // self.processes.size
        first = self.processes.rank * share
        return self.processes.mean(super().__call__(batch_BN[first:first + share], rate))
