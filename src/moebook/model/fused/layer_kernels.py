"""Loops of norms, positions and the loss.

Compiled as in `expert_kernels`. Shapes: T tokens, N tokens of a sequence, D width, W head width, V symbols.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from moebook.model.fused.arithmetic import OPTIONS, exp


@njit(**OPTIONS)
def norm_forward(x_TD, scale_D, epsilon, y_TD, inverse_T):
    """y = x * inverse * scale, with inverse = 1 / sqrt(mean of x squared + epsilon)."""
    tokens, width = x_TD.shape
    for t in range(tokens):
        total = x_TD.dtype.type(0)
        for j in range(width):
            total += x_TD[t, j] * x_TD[t, j]
        inverse = x_TD.dtype.type(1 / math.sqrt(total / width + epsilon))
        inverse_T[t] = inverse
        for j in range(width):
            y_TD[t, j] = x_TD[t, j] * inverse * scale_D[j]


@njit(**OPTIONS)
def norm_backward(dy_TD, x_TD, scale_D, inverse_T, dx_TD, dscale_D):
    """Gradients of `norm_forward`; dscale is added to."""
    tokens, width = x_TD.shape
    for t in range(tokens):
        inverse = inverse_T[t]
        total = x_TD.dtype.type(0)
        for j in range(width):
            d = dy_TD[t, j] * x_TD[t, j]
            dscale_D[j] += d * inverse
            total += d * scale_D[j]
        total *= inverse * inverse / width
        for j in range(width):
            dx_TD[t, j] = inverse * (dy_TD[t, j] * scale_D[j] - x_TD[t, j] * total)


@njit(**OPTIONS)
def loss_forward(logits_TV, target_T, p_TV):
    """Probabilities of every symbol; returns the mean of -log p[target]."""
    tokens, vocab = logits_TV.shape
    lanes = 16
    top_L = np.empty(lanes, logits_TV.dtype)
    loss = 0.0
    for t in range(tokens):
        top_L[:] = logits_TV[t, 0]
        for start in range(0, vocab - lanes + 1, lanes):
            for j in range(lanes):
                top_L[j] = max(top_L[j], logits_TV[t, start + j])
        top = top_L[0]
        for j in range(1, lanes):
            top = max(top, top_L[j])
        for j in range(vocab - vocab % lanes, vocab):
            top = max(top, logits_TV[t, j])
        total = logits_TV.dtype.type(0)
        for j in range(vocab):
            p = exp(logits_TV[t, j] - top)
            p_TV[t, j] = p
            total += p
        loss += math.log(total) + top - logits_TV[t, target_T[t]]
        inverse = 1 / total
        for j in range(vocab):
            p_TV[t, j] *= inverse
    return loss / tokens


@njit(**OPTIONS)
def loss_backward(p_TV, target_T, scale, dlogits_TV):
    """Gradient of the logits, (p - 1[target]) * scale."""
    tokens, vocab = p_TV.shape
    for t in range(tokens):
        for j in range(vocab):
            dlogits_TV[t, j] = p_TV[t, j] * scale
        dlogits_TV[t, target_T[t]] -= scale


@njit(**OPTIONS)
def place_forward(x_TC, first, scale_D, epsilon, cos_NW, sin_NW, y_TD, inverse_T):
    """Norm (see `norm_forward`) of D columns from `first` on, then rotary positions.

    The halves (a, b) of each head become (a cos - b sin, b cos + a sin).
    """
    tokens, width = y_TD.shape
    length, head = cos_NW.shape
    half = head // 2
    for t in range(tokens):
        n = t % length
        total = x_TC.dtype.type(0)
        for j in range(first, first + width):
            total += x_TC[t, j] * x_TC[t, j]
        inverse = x_TC.dtype.type(1 / math.sqrt(total / width + epsilon))
        inverse_T[t] = inverse
        for start in range(0, width, head):
            for j in range(half):
                a = x_TC[t, first + start + j] * inverse * scale_D[start + j]
                b = x_TC[t, first + start + half + j] * inverse * scale_D[start + half + j]
                y_TD[t, start + j] = a * cos_NW[n, j] - b * sin_NW[n, j]
                y_TD[t, start + half + j] = b * cos_NW[n, j] + a * sin_NW[n, j]


@njit(**OPTIONS)
def place_backward(dy_TD, x_TC, first, scale_D, inverse_T, cos_NW, sin_NW, dx_TC, dscale_D):
    """Gradients of `place_forward`; dscale is added to."""
    tokens, width = dy_TD.shape
    length, head = cos_NW.shape
    half = head // 2
    d_D = np.empty(width, x_TC.dtype)
    for t in range(tokens):
        n, inverse = t % length, inverse_T[t]
        for start in range(0, width, head):
            for j in range(half):
                a, b = dy_TD[t, start + j], dy_TD[t, start + half + j]
                d_D[start + j] = a * cos_NW[n, j] + b * sin_NW[n, j]
                d_D[start + half + j] = b * cos_NW[n, j] - a * sin_NW[n, j]
        total = x_TC.dtype.type(0)
        for j in range(width):
            product = d_D[j] * x_TC[t, first + j]
            dscale_D[j] += product * inverse
            total += product * scale_D[j]
        total *= inverse * inverse / width
        for j in range(width):
            dx_TC[t, first + j] = inverse * (d_D[j] * scale_D[j] - x_TC[t, first + j] * total)
