"""Tiles and rows of the fused experts: how they are cut, and that no cut changes the result.

Shapes: T tokens, D width, F expert width, E experts, K experts of a token, R rows.
"""

import importlib
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moebook.model import fused
from moebook.model.experts import experts_by_loop
from moebook.model.fused.swiglu import lay_out, tiles

swiglu = importlib.import_module("moebook.model.fused.swiglu")  # `fused.swiglu` is the function
SIZES = st.lists(st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 400)), min_size=1, max_size=40)


@settings(max_examples=300, deadline=None)
@given(sizes=SIZES, target=st.integers(1, 300))
def test_tiles_hold_every_row_once_in_order(sizes, target):
    cut = tiles(sizes, target)
    ends = [tile.stop for tile in cut]
    assert [tile.start for tile in cut] == [0, *ends[:-1]] and ends[-1] == sum(sizes)
    first_row = [0, *itertools.accumulate(sizes)]
    for tile in cut:
        assert tile.last - tile.first == len(tile.sizes) > 0 and sum(tile.sizes) == tile.stop - tile.start
        assert tile.stop - tile.start < 1.5 * target + 1
        whole = tile.sizes == sizes[tile.first:tile.last]
        large = 2 * sizes[tile.first] >= 3 * target
        assert whole or (large and len(tile.sizes) == 1), "only a large expert is cut, and it lies alone"
        assert not large or (not whole and tile.last == tile.first + 1), "every large expert is cut"
        assert first_row[tile.first] <= tile.start and tile.stop <= first_row[tile.last]
        assert tile.opens == (tile.start == first_row[tile.first])
    opened = [e for tile in cut if tile.opens for e in range(tile.first, tile.last)]
    assert opened == list(range(len(sizes))), "each expert's gradient is written once, idle ones' too"


@settings(max_examples=300, deadline=None)
@given(sizes=SIZES, target=st.integers(1, 300))
def test_tiles_are_neither_many_nor_uneven(sizes, target):
    cut = tiles(sizes, target)
    for tile, following in zip(cut, cut[1:], strict=False):
        if 2 * sizes[following.first] < 3 * target and tile.last == following.first and tile.sizes == sizes[
            tile.first:tile.last
        ]:
            assert tile.stop - tile.start + sizes[following.first] > target, "there was room for one more"
    for _, parts in itertools.groupby(cut, key=lambda tile: tile.first):
        rows = [tile.stop - tile.start for tile in parts]
        assert max(rows) - min(rows) <= 1 and (len(rows) == 1 or min(rows) >= 0.7 * target - 1)


def a_load(tokens, experts, active, seed, skew):
    """Distinct experts of each token, more often the first ones where `skew` is large."""
    generator = torch.Generator().manual_seed(seed)
    scores_TE = torch.randn(tokens, experts, generator=generator) - skew * torch.arange(experts) / experts
    return scores_TE.topk(active).indices, torch.rand(tokens, active, generator=generator).double()


LOADS = {
    "tokens": st.integers(1, 150), "experts": st.integers(1, 20), "seed": st.integers(0, 999),
    "skew": st.sampled_from([0, 3, 30]), "data": st.data(),
}  # fmt: skip


@pytest.mark.parametrize("idle", [0, 10**18], ids=["as it is", "padded"])
@settings(max_examples=60, deadline=None)
@given(**LOADS)
def test_rows_are_sorted_by_expert_then_token(idle, data, tokens, experts, seed, skew):
    active = data.draw(st.integers(1, min(3, experts)))
    expert_TK, weight_TK = a_load(tokens, experts, active, seed, skew)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swiglu, "IDLE_PRODUCTS", idle)
        rows = lay_out(expert_TK.t().contiguous(), weight_TK.t(), experts, 8, 8)
    counts = torch.bincount(expert_TK.flatten(), minlength=experts).tolist()
    assert rows.padded == bool(idle)
    assert rows.sizes == ([max(counts)] * experts if idle else counts)
    assert len(rows.token_R) == len(rows.weight_R) == sum(rows.sizes)
    truth = {}
    for e, start in enumerate([0, *itertools.accumulate(rows.sizes)][:-1]):
        pairs = [(t, k) for t, k in (expert_TK == e).nonzero().tolist()]
        truth |= {start + i: (t, weight_TK[t, k].item(), k) for i, (t, k) in enumerate(pairs)}
    for r in range(len(rows.token_R)):
        token, weight, k = truth.get(r, (0, 0.0, None))
        assert (rows.token_R[r].item(), rows.weight_R[r].item()) == (token, weight)
        assert k is None or rows.place_KT[k, token] == r


def value_and_gradients(by, inputs):
    x, expert_TK, *rest = inputs
    leaves = [t.clone().requires_grad_() for t in (x, *rest)]
    y_TD = by(leaves[0], expert_TK, *leaves[1:])
    (y_TD * torch.arange(1, y_TD.numel() + 1).double().mul(2.4).sin().view_as(y_TD)).sum().backward()
    return [y_TD.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("rows", [1, 7, 64, None], ids=lambda rows: f"tiles of {rows or 'as many as fit'}")
@pytest.mark.parametrize("idle", [0, 10**18], ids=["as it is", "padded"])
@settings(max_examples=25, deadline=None)
@given(**LOADS)
def test_no_way_of_cutting_changes_the_result(idle, rows, data, tokens, experts, seed, skew):
    """Padded or not, in tiles so small that most experts are cut: value and gradients are the loop's."""
    active = data.draw(st.integers(1, min(3, experts)))
    expert_TK, weight_TK = a_load(tokens, experts, active, seed, skew)
    width, expert_width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(seed + 1)
    shapes = (tokens, width), (experts, width, 2 * expert_width), (experts, expert_width, width)
    x, w_in, w_out = (torch.randn(shape, generator=generator).double() for shape in shapes)
    inputs = x, expert_TK, weight_TK, w_in, w_out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swiglu, "IDLE_PRODUCTS", idle)
        if rows:
            patch.setattr(swiglu, "TILE_BYTES", 0)
            patch.setattr(swiglu, "TILE_ROWS", rows)
        found = value_and_gradients(fused.experts, inputs)
    for i, (a, b) in enumerate(zip(found, value_and_gradients(experts_by_loop, inputs), strict=True)):
        assert (a - b).abs().max() <= 1e-10 * b.abs().max(), f"result {i}"


@pytest.mark.parametrize("experts, active, width", [(1, 1, 16), (4, 2, 16), (2, 1, 200)], ids=str)
def test_loads_of_more_rows_than_a_tile(experts, active, width, monkeypatch):
    """With the constants as they are: an even load, which is padded, in experts that are cut in two."""
    cuts, cut = [], swiglu.tiles

    def seen(sizes, target):
        cuts.append((target, cut(sizes, target)))
        return cuts[-1][1]

    monkeypatch.setattr(swiglu, "tiles", seen)
    generator = torch.Generator().manual_seed(0)

    def inputs(tokens):
        expert_TK = (torch.arange(tokens)[:, None] + torch.arange(active)) % experts
        shapes = (tokens, width), (tokens, active), (experts, width, 2 * width), (experts, width, width)
        x, weight_TK, *matrices = (torch.randn(shape, generator=generator).double() / 4 for shape in shapes)
        return x, expert_TK, weight_TK, *matrices

    value_and_gradients(fused.experts, inputs(experts))
    many = inputs(2 * cuts[0][0] * experts // active)
    found, truth = (value_and_gradients(by, many) for by in (fused.experts, experts_by_loop))
    assert [tile.opens for tile in cuts[1][1]] == [True, False] * experts
    for a, b in zip(found, truth, strict=True):
        assert (a - b).abs().max() <= 1e-10 * b.abs().max()


@pytest.mark.parametrize("tokens", [700, 3000])
def test_a_dense_model_of_more_tokens_than_a_tile(tokens, monkeypatch):
    monkeypatch.setattr(swiglu, "TILE_BYTES", 0)
    monkeypatch.setattr(swiglu, "TILE_ROWS", 256)
    generator = torch.Generator().manual_seed(0)
    shapes = (tokens, 5), (1, 5, 8), (1, 4, 5)
    x, w_in, w_out = (torch.randn(shape, generator=generator).double() for shape in shapes)
    whole = torch.zeros(tokens, 1, dtype=torch.int64), torch.ones(tokens, 1).double()

    def dense(x, expert_TK, weight_TK, w_in, w_out):
        return fused.swiglu(x, w_in, w_out) + 0 * weight_TK.sum()

    inputs = x, whole[0], whole[1], w_in, w_out
    found, truth = value_and_gradients(dense, inputs), value_and_gradients(experts_by_loop, inputs)
    for i in (0, 1, 3, 4):
        assert (found[i] - truth[i]).abs().max() <= 1e-10 * truth[i].abs().max()
