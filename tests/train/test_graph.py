"""The step of a CUDA GPU, without one: nothing read by the host, whole blocks compiled, graphs replayed."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from moebook.architecture import Family, ModelConfig
from moebook.model import Decoder, fused, router
from moebook.model.decoder import Block
from moebook.train import Recipe, evaluate, graph, processes, train_trunk
from moebook.train.checkpoint import restore_training, training_tensors
from moebook.train.graph import WARM_UP, GraphedStep
from moebook.train.step import Step

SPARSE = Family(context=32).config(16, 0.75)
SHARED = Family(context=32, active=1, shared_experts=1).config(16, 0.75)
DENSE = Family(context=32).config(16, 0)
RECIPE = Recipe(warmup_tokens=1024, precision="bf16", bias_rate=1e-3, z_weight=1e-3)
BATCH = 4 * 32
MODELS = pytest.mark.parametrize("config", [SPARSE, SHARED, DENSE], ids=["sparse", "shared", "dense"])


@pytest.fixture
def plain(monkeypatch):
    """The torch that a GPU runs, which on a CPU the fused operations stand in for."""
    monkeypatch.setattr(fused.common, "AVAILABLE", False)


@pytest.fixture
def graphs(plain, monkeypatch):
    spec = importlib.util.spec_from_file_location("cpu_graph", Path(__file__).with_name("cpu_graph.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install(monkeypatch)
    monkeypatch.setattr(Block, "compile", lambda block, **options: None)


def batches(count, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(97, 110, (4, 33), dtype=np.uint8) for _ in range(count)]


def model_of(config, recipe=RECIPE):
    return Decoder(config, biased=recipe.bias_rate > 0)


def assert_same_weights(a, b, tolerance=0.0):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert (x - y).abs().max() <= tolerance, name


@MODELS
def test_replayed_steps_are_the_plain_steps(graphs, config):
    """Without decay nothing differs: rate, moments, count of steps and biases are all alive in the graph."""
    recipe = replace(RECIPE, weight_decay=0.0)
    eager, graphed = (kind(model_of(config), recipe) for kind in (Step, GraphedStep))
    rates = np.linspace(1e-3, 8e-3, 9)
    for batch_BN, rate in zip(batches(9), rates, strict=True):
        expected, found = eager(batch_BN, float(np.float32(rate))), graphed(batch_BN, float(rate))
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert graphed._graph.replays == 9 - WARM_UP
    assert_same_weights(eager.model, graphed.model, 1e-5)
    assert all(state["step"] == 9 for state in graphed.optimizer.state.values())


def test_losses_stay_when_later_steps_are_replayed(graphs):
    step = GraphedStep(model_of(SPARSE), RECIPE)
    losses = [step(batch_BN, 4e-3) for batch_BN in batches(8)]
    assert len({loss.item() for loss in losses}) == 8


def test_the_decay_of_the_graph_is_the_recipes(graphs):
    """Of weights as they are, whatever the rate; scales do not decay."""
    recipe = replace(RECIPE, weight_decay=1e-2)
    eager, graphed = (kind(model_of(SPARSE), recipe) for kind in (Step, GraphedStep))
    for batch_BN, rate in zip(batches(6), (4e-3, 1e-3, 2e-3, 1e-3, 4e-3, 1e-3), strict=True):
        eager(batch_BN, rate), graphed(batch_BN, rate)
    assert_same_weights(eager.model, graphed.model, 2e-3)
    undecayed = GraphedStep(model_of(SPARSE), replace(RECIPE, weight_decay=0.0))
    for batch_BN, rate in zip(batches(6), (4e-3, 1e-3, 2e-3, 1e-3, 4e-3, 1e-3), strict=True):
        undecayed(batch_BN, rate)
    ratio = graphed.model.embedding.weight.norm() / undecayed.model.embedding.weight.norm()
    assert ratio.item() == pytest.approx(0.99**6, rel=1e-3)


def test_state_put_back_reaches_the_graph(graphs):
    """Back to an earlier step in place: the same steps again give the same bits, moments and count too."""
    step = GraphedStep(model_of(SPARSE), RECIPE)
    for batch_BN in batches(5):
        step(batch_BN, 4e-3)
    saved = {name: t.detach().clone() for name, t in training_tensors(step.model, step.optimizer).items()}
    ends = []
    for _ in range(2):
        for batch_BN in batches(4, seed=1):
            step(batch_BN, 2e-3)
        ends.append({name: t.clone() for name, t in training_tensors(step.model, step.optimizer).items()})
        restore_training(step.model, step.optimizer, saved, 5)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in saved)
    assert all(state["step"] == 5 for state in step.optimizer.state.values())


def steps_apart(kind, rates, restore=restore_training):
    """How far the losses of a graphed step end from the plain step's, a state being put back on the way."""
    losses = []
    for step in (Step(model_of(SPARSE), RECIPE), kind(model_of(SPARSE), RECIPE)):
        saved = training_tensors(step.model, step.optimizer)
        saved = {name: tensor.detach().clone() for name, tensor in saved.items()}
        for batch_BN, rate in zip(batches(8), rates, strict=True):
            step(batch_BN, rate)
        (restore_training if type(step) is Step else restore)(step.model, step.optimizer, saved, 0)
        losses.append([step(batch_BN, rate).item() for batch_BN, rate in zip(batches(8), rates, strict=True)])
    return np.abs(np.subtract(*losses)).max()


class RateOnTheHost(GraphedStep):
    """A planted bug: the rate is a number, which the capture takes for a constant."""

    def set_rate(self, rate):
        for group in self.optimizer.param_groups:
            group["lr"] = rate


def replacing(model, optimizer, tensors, step):
    """A planted bug: fresh moments, while the graph goes on with the old ones."""
    optimizer.state.clear()
    restore_training(model, optimizer, tensors, step)


def test_what_a_graph_would_freeze_is_caught(graphs):
    rates = [1e-3 * (n + 1) for n in range(8)]
    assert steps_apart(GraphedStep, rates) < 0.01
    assert steps_apart(RateOnTheHost, rates) > 0.05
    assert steps_apart(GraphedStep, rates, replacing) > 0.05


def test_a_state_without_moments_is_that_of_the_first_step(plain):
    first, later = (Step(model_of(SPARSE), RECIPE) for _ in range(2))
    saved = {name: t.detach().clone() for name, t in training_tensors(later.model, later.optimizer).items()}
    for batch_BN in batches(3):
        later(batch_BN, 4e-3)
    restore_training(later.model, later.optimizer, saved, 0)
    for batch_BN in batches(3):
        assert later(batch_BN, 2e-3).equal(first(batch_BN, 2e-3))
    assert_same_weights(first.model, later.model)


def test_a_trunk_of_graphed_steps_branches_and_resumes_to_the_bit(graphs, text, tmp_path, monkeypatch):
    def graphed(model, recipe, compiled):
        return GraphedStep(model, recipe)

    monkeypatch.setattr(processes, "training_step", graphed)

    def train(name, tokens, **more):
        return train_trunk(SPARSE, RECIPE, text, 0, tokens, tmp_path / name, device="cpu", **more)

    class Stop(Exception):
        pass

    def stop(done, total, loss):
        if done >= 33:
            raise Stop

    short, long = train("trunk", [20 * BATCH, 40 * BATCH])
    (alone,) = train("alone", [40 * BATCH])
    with pytest.raises(Stop):
        train("killed", [40 * BATCH], on_progress=stop, checkpoint_seconds=0.0)
    (resumed,) = train("killed", [40 * BATCH])
    assert (long.measures, long.curve) == (alone.measures, alone.curve) == (resumed.measures, resumed.curve)
    monkeypatch.undo()
    (usual,) = train_trunk(SPARSE, RECIPE, text, 0, [40 * BATCH], tmp_path / "usual", device="cpu")
    assert long.measures["loss_nats"] == pytest.approx(usual.measures["loss_nats"], abs=0.02)
    assert long.measures["loss_nats"] < short.measures["loss_nats"] < 4


@pytest.mark.parametrize("config", [SPARSE, DENSE], ids=["sparse", "dense"])
def test_in_bf16_without_fused_operations_a_run_learns_as_in_fp32(plain, text, tmp_path, config):
    losses = []
    for precision in ("fp32", "bf16"):
        recipe = Recipe(warmup_tokens=1024, precision=precision)
        (record,) = train_trunk(config, recipe, text, 0, [100 * BATCH], tmp_path / precision, device="cpu")
        losses.append(record.measures["loss_nats"])
    assert losses[0] != losses[1] < 2.5 and losses[1] == pytest.approx(losses[0], abs=0.05)


def reads_a_value(logits_TE, *rest):
    assert logits_TE.isfinite().all().item()
    return router.route_by_definition(logits_TE, *rest)


def reads_a_list(logits_TE, *rest):
    routing = router.route_by_definition(logits_TE, *rest)
    routing.load_E.tolist()
    return routing


def reads_indices(logits_TE, *rest):
    routing = router.route_by_definition(logits_TE, *rest)
    (routing.expert_TK == 1).nonzero()
    return routing


READERS = pytest.mark.parametrize("reader", [reads_a_value, reads_a_list, reads_indices])


@READERS
def test_a_capture_that_reads_back_fails(graphs, monkeypatch, reader):
    step = GraphedStep(model_of(SPARSE), RECIPE)
    monkeypatch.setattr("moebook.model.decoder.route", reader)
    for batch_BN in batches(WARM_UP):
        step(batch_BN, 4e-3)
    with pytest.raises(RuntimeError, match="reads a value during capture"):
        step(batches(1)[0], 4e-3)


def whole_step_without_values(config):
    """Forward, backward, clipping and update on tensors that have shapes and no values."""
    with FakeTensorMode():
        step = Step(model_of(config), RECIPE, rate=torch.tensor(1e-3), capturable=True)
        loss = step.take(torch.randint(256, (4, 33)))
        assert loss.shape == () and loss.dtype == torch.float32
        assert all(state["exp_avg"].shape == p.shape for p, state in step.optimizer.state.items())


@MODELS
def test_a_step_asks_for_no_value(plain, config):
    whole_step_without_values(config)


@READERS
def test_a_step_that_asks_for_a_value_is_caught(plain, monkeypatch, reader):
    monkeypatch.setattr("moebook.model.decoder.route", reader)
    with pytest.raises(Exception, match="aten.(_local_scalar_dense|nonzero)"):
        whole_step_without_values(SPARSE)


@pytest.mark.parametrize("expected, config, options", [
    ("captured", SPARSE, {}), ("captured", DENSE, {}), ("captured", SPARSE, {"major": 10}),
    ("plain", SPARSE, {"major": 8}), ("plain", SPARSE, {"major": 12}), ("captured", DENSE, {"major": 8}),
    ("plain", SPARSE, {"precision": "fp32"}), ("captured", DENSE, {"precision": "fp32"}),
    ("plain", Family(context=32).config(12, 0.75), {}), ("plain", SPARSE, {"compiled": False}),
    ("plain", SPARSE, {"device": "cpu"}),
])  # fmt: skip
def test_a_step_is_captured_where_no_product_reads_back(monkeypatch, expected, config, options):
    """By card, type and width; on a card without grouped products the sizes of the groups are read."""
    with FakeTensorMode():
        model = Decoder(config)
        for module in model.modules():
            for name, tensor in module._parameters.items():
                if tensor is not None:
                    module._parameters[name] = torch.empty_like(tensor, device=options.get("device", "cuda"))
    major = SimpleNamespace(major=options.get("major", 9))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: major)
    monkeypatch.setattr(graph, "Step", lambda model, recipe: "plain")
    monkeypatch.setattr(graph, "GraphedStep", lambda model, recipe: "captured")
    recipe = Recipe(precision=options.get("precision", "auto"))
    assert graph.training_step(model, recipe, options.get("compiled", True)) == expected


@pytest.mark.parametrize("routed", [
    {"experts": 8, "active": 2, "granularity": 2}, {"experts": 4, "active": 1}, {"granularity": 1},
    {"experts": 8, "active": 1, "granularity": 2, "shared_experts": 1},
], ids=["K = 2", "K = 1", "dense", "shared"])  # fmt: skip
def test_a_compiled_block_has_no_breaks_and_the_same_bits(plain, routed):
    config = ModelConfig(width=32, ffn_width=64, heads=2, **routed)
    model = Decoder(config, biased=True)
    block, tables = model.blocks[0], (model.cos_NW, model.sin_NW)
    x_BND = torch.randn(2, 128, 32, generator=torch.Generator().manual_seed(0))
    found, graphs = [], []

    def backend(module, inputs):
        graphs.append(module)
        return torch._dynamo.lookup_backend("aot_eager")(module, inputs)

    for compiled in (False, True):
        if compiled:
            torch.compiler.reset()
            block.compile(fullgraph=True, dynamic=False, backend=backend)
        block.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            y_BND, routing = block(x_BND, *tables)
        loss = y_BND.square().sum() + (routing.balance_loss + routing.z_loss if routing else 0)
        loss.backward()
        found.append([y_BND.detach(), *(p.grad for p in block.parameters())])
    assert len(graphs) == 1
    for name, a, b in zip(["output", *(n for n, _ in block.named_parameters())], *found, strict=True):
        assert torch.equal(a, b), name


def test_evaluation_does_not_compile_again(plain):
    compiled = []

    def backend(module, inputs):
        compiled.append(module)
        return module.forward

    model = Decoder(DENSE)
    torch.compiler.reset()
    for block in model.blocks:
        block.compile(backend=backend, fullgraph=True, dynamic=False)
    with evaluate.uncompiled(torch.device("cuda")), torch.inference_mode():
        model(torch.zeros(1, 32, dtype=torch.int64))
    assert not compiled
    model(torch.zeros(4, 32, dtype=torch.int64))
    assert len(compiled) == 1, "blocks of one shape share their code"
