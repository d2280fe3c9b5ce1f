"""A CUDA graph on the CPU: a capture records operations and undoes what they changed, a replay repeats them.

As with the real one, tensors stay where they were, what the host computed is a constant, and a capture that
reads a value back fails. What it cannot show is whether a kernel of CUDA can be captured.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = {torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.numpy, torch.Tensor.cpu, torch.Tensor.__bool__}


class _NoReads(TorchFunctionMode):
    """Fails where Python asks for a value of a tensor: not all of these reach the dispatcher on a CPU."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in READS:
            raise RuntimeError(f"{function.__name__} reads a value during capture")
        return function(*args, **(kwargs or {}))


class CPUGraph(TorchDispatchMode):
    """Both `torch.cuda.CUDAGraph` and, entered, `torch.cuda.graph` of it."""

    def __init__(self):
        super().__init__()
        self.operations, self.undo, self.replays = [], [], 0
        self.no_reads = _NoReads()

    def __enter__(self):
        self.no_reads.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.no_reads.__exit__(*error)
        with torch.no_grad():
            for tensor, before in reversed(self.undo):
                tensor.copy_(before)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(function.tags):
            raise RuntimeError(f"{function} reads a value during capture")
        for argument, value in zip(function._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.undo += [(t, t.detach().clone()) for t in tree_leaves(value)]
        result = function(*args, **kwargs)
        self.operations.append((function, args, kwargs, result))
        return result

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for function, args, kwargs, result in self.operations:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor):
                    if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                        old.copy_(new)


class _Stream:
    def wait_stream(self, other):
        pass


def install(monkeypatch) -> None:
    """Put it in the place of CUDA's streams and graphs."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: _Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: _Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", CPUGraph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: graph)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
