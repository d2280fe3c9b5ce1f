"""The experts with their gradient: token-expert pairs laid out by expert, multiplied in tiles.

A tile's rows stay in the second-level cache from the gathering of tokens to the last product, forward and
backward; weights' gradients are written once, and nothing is scattered.

Shapes: T tokens, E experts, K experts of a token, R rows sorted by expert, D width, F expert width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from moebook.model.fused import expert_kernels as kernels
from moebook.model.fused.common import array

TILE_BYTES = 1 << 21  # about a second-level cache
TILE_ROWS = 512  # fewer make slow products
# A product for each expert costs a few microseconds of calls; one batched product over experts padded to the
# largest load costs idle multiplications. Padding pays below so many of them an expert.
IDLE_PRODUCTS = 120_000


class Tile(NamedTuple):
    """Rows start to stop, of experts first to last (not included), with so many rows each."""

    start: int
    stop: int
    first: int
    last: int
    sizes: list[int]
    opens: bool  # False where the one expert's rows began in an earlier tile


def tiles(sizes: list[int], target: int) -> list[Tile]:
    """Cut rows, sizes[e] of them for expert e, into tiles of about `target` rows of whole experts.

    An expert with more than half as many again is cut itself.
    """
    found: list[Tile] = []
    at = e = 0
    while e < len(sizes):
        rows = sizes[e]
        if 2 * rows >= 3 * target:
            parts = round(rows / target)
            ends = [at + rows * part // parts for part in range(parts + 1)]
            found += [
                Tile(a, b, e, e + 1, [b - a], a == at) for a, b in zip(ends, ends[1:], strict=False)
            ]
            at, e = at + rows, e + 1
            continue
        start, first = at, e
        while e < len(sizes) and (e == first or at - start + sizes[e] <= target):
            at, e = at + sizes[e], e + 1
        found.append(Tile(start, at, first, e, sizes[first:e], True))
    return found


class Rows(NamedTuple):
    """Token-expert pairs laid out by expert. `padded`: every expert has as many rows as the busiest.

    Attributes:
        token_R, weight_R: the token that a row is taken from, and its weight; 0 and 0 in a row of padding.
        place_KT: row of each pair.
        sizes: rows of each expert.
    """

    token_R: Tensor
    weight_R: Tensor
    place_KT: Tensor
    sizes: list[int]
    padded: bool


def lay_out(expert_KT: Tensor, weight_KT: Tensor, experts: int, width: int, expert_width: int) -> Rows:
    """Sort pairs by expert, then token, padded where that is faster."""
    count_E = torch.bincount(expert_KT.reshape(-1), minlength=experts)
    sizes, pairs = count_E.tolist(), expert_KT.numel()
    most = max(sizes)
    padded = (most * experts - pairs) * width * expert_width < IDLE_PRODUCTS * experts
    if padded:
        sizes, start_E = [most] * experts, torch.arange(0, experts * most, most)
    else:
        start_E = count_E.cumsum(0).sub_(count_E)
    rows = sum(sizes)
    token_R = torch.zeros(rows, dtype=torch.int64)
    weight_R, place_KT = weight_KT.new_zeros(rows), torch.empty_like(expert_KT)
    kernels.place_rows(
        expert_KT.numpy(), array(weight_KT), start_E.numpy(), token_R.numpy(), weight_R.numpy(),
        place_KT.numpy(),
    )  # fmt: skip
    return Rows(token_R, weight_R, place_KT, sizes, padded)


def _multiply(tile: Tile, padded: bool, a: Tensor, weight_EAB: Tensor, out: Tensor) -> None:
    """Rows of a tile times their experts' matrices (given as they are, or transposed)."""
    weight_EAB = weight_EAB[tile.first:tile.last]
    if padded:
        experts, _, columns = weight_EAB.shape
        torch.bmm(a.view(experts, -1, a.shape[1]), weight_EAB, out=out.view(experts, -1, columns))
        return
    for part, weight, result in zip(
        a.split_with_sizes(tile.sizes), weight_EAB.unbind(), out.split_with_sizes(tile.sizes), strict=True
    ):
        torch.mm(part, weight, out=result)


def _weight_gradient(tile: Tile, padded: bool, a: Tensor, b: Tensor, out_EAB: Tensor) -> None:
    """The tile's part of the gradient of the experts' matrices, a^T b."""
    out_EAB = out_EAB[tile.first:tile.last]
    if padded:
        experts = len(out_EAB)
        a, b = a.view(experts, -1, a.shape[1]), b.view(experts, -1, b.shape[1])
        if tile.opens:
            torch.bmm(a.transpose(1, 2), b, out=out_EAB)
        else:
            out_EAB.baddbmm_(a.transpose(1, 2), b)
        return
    for left, right, result in zip(
        a.split_with_sizes(tile.sizes), b.split_with_sizes(tile.sizes), out_EAB.unbind(), strict=True
    ):
        if tile.opens:
            torch.mm(left.t(), right, out=result)  # zero where the expert has no rows
        else:
            result.addmm_(left.t(), right)


class _SwiGLU(torch.autograd.Function):
    """Experts of rows already laid out, or (rows = None) one expert of all tokens."""

    @staticmethod
    def forward(
        context, x_TD: Tensor, weight_KT: Tensor | None, in_EDF2: Tensor, out_EFD: Tensor, rows: Rows | None
    ):
        _, expert_width, width = out_EFD.shape
        count = len(x_TD) if rows is None else len(rows.token_R)
        sizes, padded = ([count], False) if rows is None else (rows.sizes, rows.padded)
        target = max(TILE_ROWS, TILE_BYTES // (x_TD.element_size() * (2 * width + 4 * expert_width)))
        cut = tiles(sizes, target)
        most = max(tile.stop - tile.start for tile in cut)
        h_RF2, y_RD = x_TD.new_empty(count, 2 * expert_width), x_TD.new_empty(count, width)
        a_RF, taken_RD = x_TD.new_empty(most, expert_width), x_TD.new_empty(most, width)
        for tile in cut:
            part, rows_here = slice(tile.start, tile.stop), tile.stop - tile.start
            x, a, h = x_TD[part] if rows is None else taken_RD[:rows_here], a_RF[:rows_here], h_RF2[part]
            if rows is not None:
                kernels.take_rows(array(x_TD), rows.token_R[part].numpy(), x.numpy())
            _multiply(tile, padded, x, in_EDF2, h)
            kernels.swiglu_forward(h.numpy(), a.numpy())
            _multiply(tile, padded, a, out_EFD, y_RD[part])
        context.rows, context.tiles, context.most = rows, cut, most
        context.save_for_backward(x_TD, in_EDF2, out_EFD, h_RF2)
        if rows is None:
            return y_RD
        out_TD = torch.empty_like(x_TD)
        kernels.combine(y_RD.numpy(), rows.place_KT.numpy(), array(weight_KT), out_TD.numpy())
        return out_TD

    @staticmethod
    @once_differentiable
    def backward(context, dout_TD: Tensor):
        x_TD, in_EDF2, out_EFD, h_RF2 = context.saved_tensors
        rows, most = context.rows, context.most
        _, expert_width, width = out_EFD.shape
        padded = rows is not None and rows.padded
        din_EDF2, dout_EFD = torch.empty_like(in_EDF2), torch.empty_like(out_EFD)
        dx_RD = x_TD.new_empty(len(h_RF2), width)
        taken_RD, dy_RD = x_TD.new_empty(most, width), x_TD.new_empty(most, width)
        a_RF, da_RF = x_TD.new_empty(most, expert_width), x_TD.new_empty(most, expert_width)
        dh_RF2 = x_TD.new_empty(most, 2 * expert_width)
        dout_TD = dout_TD.contiguous()
        weight_R = x_TD.new_ones(len(x_TD)) if rows is None else rows.weight_R
        dweight_R = torch.empty_like(weight_R)
        for tile in context.tiles:
            part, here = slice(tile.start, tile.stop), slice(tile.stop - tile.start)
            if rows is None:
                x, dy = x_TD[part], dout_TD[part]
            else:
                x, dy, token = taken_RD[here], dy_RD[here], rows.token_R[part].numpy()
                kernels.take_rows(array(x_TD), token, x.numpy())
                kernels.take_rows(array(dout_TD), token, dy.numpy())
            a, da, dh = a_RF[here], da_RF[here], dh_RF2[here]
            _multiply(tile, padded, dy, out_EFD.transpose(1, 2), da)
            kernels.swiglu_backward(
                h_RF2[part].numpy(), da.numpy(), weight_R[part].numpy(), dh.numpy(), a.numpy(),
                dweight_R[part].numpy(),
            )  # fmt: skip
            _weight_gradient(tile, padded, a, dy, dout_EFD)
            _weight_gradient(tile, padded, x, dh, din_EDF2)
            _multiply(tile, padded, dh, in_EDF2.transpose(1, 2), dx_RD[part])
        if rows is None:
            return dx_RD, None, din_EDF2, dout_EFD, None
        dx_TD = torch.empty_like(x_TD)
        kernels.add_up(dx_RD.numpy(), rows.place_KT.numpy(), dx_TD.numpy())
        return dx_TD, dweight_R[rows.place_KT], din_EDF2, dout_EFD, None


def swiglu(x_TD: Tensor, in_EDF2: Tensor, out_EFD: Tensor) -> Tensor:
    """The one expert of a dense model: `Experts.dense`."""
    return _SwiGLU.apply(x_TD.contiguous(), None, in_EDF2, out_EFD, None)


def experts(x_TD: Tensor, expert_TK: Tensor, weight_TK: Tensor, in_EDF2: Tensor, out_EFD: Tensor) -> Tensor:
    """`experts_by_loop`, by sorted rows."""
    count, expert_width, width = out_EFD.shape
    expert_KT, weight_KT = expert_TK.t().contiguous(), weight_TK.t()
    rows = lay_out(expert_KT, weight_KT, count, width, expert_width)
    return _SwiGLU.apply(x_TD.contiguous(), weight_KT, in_EDF2, out_EFD, rows)
