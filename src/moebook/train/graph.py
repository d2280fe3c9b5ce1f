"""The step on a CUDA GPU: blocks compiled, and all of it one CUDA graph.

A small model's kernels end sooner than the host can launch the next; a graph launches all of a step at
once. What changes from step to step (batch, rate, weights, moments, the count of steps) lies in tensors that
stay where they are; anything else is a constant of the graph.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moebook.model import Decoder
from moebook.train.evaluate import compute_type
from moebook.train.recipe import Recipe
from moebook.train.step import Step

WARM_UP = 3  # steps before the capture: kernels are compiled, libraries get workspace, moments come to be


def training_step(model: Decoder, recipe: Recipe, compiled: bool = True) -> Step:
    """The fastest step there is for a model, where it lies; with `compiled` off, the plain one."""
    device = next(model.parameters()).device
    if compiled and device.type == "cuda" and model.stays_on_device(compute_type(device, recipe.precision)):
        return GraphedStep(model, recipe)
    return Step(model, recipe)


class GraphedStep(Step):
    """A step that is captured once and then replayed, for batches of one shape.

    The first WARM_UP steps are taken one kernel after the other, and count like any other. State put back
    between steps must be copied into the tensors that are there, as `restore_training` does.
    """

    def __init__(self, model: Decoder, recipe: Recipe):
        device = next(model.parameters()).device
        super().__init__(model, recipe, rate=torch.tensor(0.0, device=device), capturable=True)
        torch.compiler.reset()  # a process may train many models, and Dynamo keeps but a few sizes of a block
        for block in model.blocks:
            block.compile(fullgraph=True, dynamic=False)
        self._stream = torch.cuda.Stream(device)
        self._steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch_BN: Tensor | None = None
        self._loss: Tensor | None = None

    def __call__(self, batch_BN: np.ndarray, rate: float) -> Tensor:
        batch_BN = torch.from_numpy(batch_BN).pin_memory()
        if self._batch_BN is None:
            self._batch_BN = torch.empty_like(batch_BN, device=self.device)
        self._batch_BN.copy_(batch_BN, non_blocking=True)
        self.set_rate(rate)
        self._steps += 1
        if self._steps <= WARM_UP:
            return self._apart()
        if self._graph is None:
            self._capture()
        self._graph.replay()
        return self._loss.clone()

    def _apart(self) -> Tensor:
        """Take the step on the stream of the capture: gradients are summed on the stream they first were."""
        here = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            loss = self.take(self._batch_BN.long())
        here.wait_stream(self._stream)
        return loss.clone()

    def _capture(self) -> None:
        """Record the step, which does not take it."""
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._loss = self.take(self._batch_BN.long())

    def set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"].fill_(rate)

    @torch.no_grad()
    def optimise(self) -> None:
        # AdamW's own decay is times the rate, and its factor would be a constant of the graph
        torch._foreach_mul_(self.decayed, 1 - self.recipe.weight_decay)
        self.optimizer.step()
