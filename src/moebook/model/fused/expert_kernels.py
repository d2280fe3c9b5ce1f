"""Loops of router and experts.

Compiled for one core, fp32 and float64; each makes one pass over its (contiguous) arrays where a chain of
torch operations would make many. They know nothing of torch: arrays in, arrays filled.

Shapes: T tokens, E experts, K experts of a token, R rows sorted by expert, D width, F expert width.
"""

from __future__ import annotations

import math

import numpy as np

from moebook.model.fused.arithmetic import compiled, exp

BLOCK = 128  # tokens of a stretch that stays in the first-level cache


@compiled
def route_forward(logits_ET, bias_E, renormalise, p_ET, expert_KT, weight_KT, z_T, count_E, mean_E):
    """Softmax over experts, the K best by p + bias, their weights, log-partition z, load and mean p."""
    experts, tokens = logits_ET.shape
    active = expert_KT.shape[0]
    zero, infinity = logits_ET.dtype.type(0), logits_ET.dtype.type(np.inf)
    score_EB = np.empty((experts, BLOCK), logits_ET.dtype)
    top_B, total_B = np.empty(BLOCK, logits_ET.dtype), np.empty(BLOCK, logits_ET.dtype)
    best_B = np.empty(BLOCK, np.int32)  # as wide as fp32, so that vector units can choose both at once
    count_E[:] = 0
    mean_E[:] = 0
    for start in range(0, tokens, BLOCK):
        n = min(BLOCK, tokens - start)
        top_B[:] = -infinity
        total_B[:] = zero
        for e in range(experts):
            logits_B = logits_ET[e, start:start + n]
            for t in range(n):
                top_B[t] = max(top_B[t], logits_B[t])
        for e in range(experts):
            logits_B, p_B = logits_ET[e, start:start + n], p_ET[e, start:start + n]
            for t in range(n):
                p = exp(logits_B[t] - top_B[t])
                p_B[t] = p
                total_B[t] += p
        for t in range(n):
            z_T[start + t] = top_B[t] + math.log(total_B[t])
            total_B[t] = 1 / total_B[t]
        for e in range(experts):
            p_B, score_B, bias, mean = p_ET[e, start:start + n], score_EB[e], bias_E[e], zero
            for t in range(n):
                p = p_B[t] * total_B[t]
                p_B[t] = p
                score_B[t] = p + bias
                mean += p
            mean_E[e] += mean / tokens
        for k in range(active):
            top_B[:] = -infinity
            best_B[:] = 0
            for e in range(experts):
                score_B = score_EB[e]
                for t in range(n):
                    better = score_B[t] > top_B[t]
                    top_B[t] = score_B[t] if better else top_B[t]
                    best_B[t] = np.int32(e) if better else best_B[t]
            for t in range(n):
                e = best_B[t]
                score_EB[e, t] = -infinity
                count_E[e] += 1
                expert_KT[k, start + t] = e
                weight_KT[k, start + t] = p_ET[e, start + t]
        if renormalise:
            for t in range(start, start + n):
                total = zero
                for k in range(active):
                    total += weight_KT[k, t]
                for k in range(active):
                    weight_KT[k, t] /= total


@compiled
def route_backward(p_ET, expert_KT, weight_KT, renormalise, dweight_KT, dmean_E, dz_T, dlogits_ET):
    """Gradient of the logits from those of the weights, of the sum of each expert's p, and of z."""
    experts, tokens = p_ET.shape
    active = expert_KT.shape[0]
    zero = p_ET.dtype.type(0)
    inner_B, row_B = np.empty(BLOCK, p_ET.dtype), np.empty(BLOCK, p_ET.dtype)
    for start in range(0, tokens, BLOCK):
        n = min(BLOCK, tokens - start)
        for t in range(n):
            inner = zero
            for k in range(active):
                inner += dweight_KT[k, start + t] * weight_KT[k, start + t]
            inner_B[t] = inner if renormalise else zero
            row_B[t] = (zero if renormalise else inner) - dz_T[start + t]
        for e in range(experts):
            p_B, dmean = p_ET[e, start:start + n], dmean_E[e]
            for t in range(n):
                row_B[t] += dmean * p_B[t]
        for e in range(experts):
            p_B, dlogits_B, dmean = p_ET[e, start:start + n], dlogits_ET[e, start:start + n], dmean_E[e]
            for t in range(n):
                dlogits_B[t] = p_B[t] * (dmean - row_B[t])
        for t in range(n):
            for k in range(active):
                d = dweight_KT[k, start + t] - inner_B[t]
                dlogits_ET[expert_KT[k, start + t], start + t] += d * weight_KT[k, start + t]


@compiled
def place_rows(expert_KT, weight_KT, start_E, token_R, weight_R, place_KT):
    """Lay the token-expert pairs out by expert: expert e's rows begin at start_E[e], in order of tokens.

    Fills token_R and weight_R (of rows that exist) and place_KT, the row of each pair; moves start_E.
    """
    active, tokens = expert_KT.shape
    for t in range(tokens):
        for k in range(active):
            e = expert_KT[k, t]
            row = start_E[e]
            start_E[e] = row + 1
            token_R[row] = t
            weight_R[row] = weight_KT[k, t]
            place_KT[k, t] = row


@compiled
def take_rows(x_TD, token_R, out_RD):
    """Row r is row token_R[r] of x."""
    rows, width = out_RD.shape
    for r in range(rows):
        t = token_R[r]
        for j in range(width):
            out_RD[r, j] = x_TD[t, j]


@compiled
def combine(y_RD, place_KT, weight_KT, out_TD):
    """Each token's rows, weighted and added up."""
    tokens, width = out_TD.shape
    for t in range(tokens):
        row, weight = place_KT[0, t], weight_KT[0, t]
        for j in range(width):
            out_TD[t, j] = weight * y_RD[row, j]
        for k in range(1, place_KT.shape[0]):
            row, weight = place_KT[k, t], weight_KT[k, t]
            for j in range(width):
                out_TD[t, j] += weight * y_RD[row, j]


@compiled
def add_up(x_RD, place_KT, out_TD):
    """Each token's rows, added up."""
    tokens, width = out_TD.shape
    for t in range(tokens):
        row = place_KT[0, t]
        for j in range(width):
            out_TD[t, j] = x_RD[row, j]
        for k in range(1, place_KT.shape[0]):
            row = place_KT[k, t]
            for j in range(width):
                out_TD[t, j] += x_RD[row, j]


@compiled
def swiglu_forward(h_RF2, a_RF):
    """a = silu(gate) * up; gate and up lie side by side in h."""
    rows, width = a_RF.shape
    one = a_RF.dtype.type(1)
    for r in range(rows):
        for j in range(width):
            gate = h_RF2[r, j]
            a_RF[r, j] = gate / (one + exp(-gate)) * h_RF2[r, width + j]


@compiled
def swiglu_backward(h_RF2, da_RF, weight_R, dh_RF2, a_RF, dweight_R):
    """Gradients of gate, up and a row's weight, from that of its weighted a; and the weighted a once more.

    The layout is for speed: with gate and up as arrays of their own, the compiler gives up on vectors.
    """
    rows, width = a_RF.shape
    one, zero = a_RF.dtype.type(1), a_RF.dtype.type(0)
    for r in range(rows):
        weight, dweight = weight_R[r], zero
        for j in range(width):
            gate, up, da = h_RF2[r, j], h_RF2[r, width + j], da_RF[r, j]
            share = one / (one + exp(-gate))
            silu = gate * share
            dweight += da * silu * up
            a_RF[r, j] = weight * silu * up
            dh_RF2[r, width + j] = weight * da * silu
            dh_RF2[r, j] = weight * da * up * (share + silu * (one - share))
        dweight_R[r] = dweight
