"""Loops of norms, positions and the loss.

Compiled as in `expert_kernels`. Shapes: T tokens, N tokens of a sequence, D width, V symbols.
"""

from __future__ import annotations

import math

import numpy as np

from moebook.model.fused.arithmetic import compiled, exp

BLOCK = 128  # tokens added up before they join the sum over all: long sums of small terms lose digits


@compiled
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


@compiled
def norm_backward(dy_TD, x_TD, scale_D, inverse_T, dx_TD, dscale_D):
    """Gradients of `norm_forward`; dscale is added to."""
    tokens, width = x_TD.shape
    part_D = np.empty(width, x_TD.dtype)
    for start in range(0, tokens, BLOCK):
        part_D[:] = 0
        for t in range(start, min(start + BLOCK, tokens)):
            inverse = inverse_T[t]
            total = x_TD.dtype.type(0)
            for j in range(width):
                d = dy_TD[t, j] * x_TD[t, j]
                part_D[j] += d * inverse
                total += d * scale_D[j]
            total *= inverse * inverse / width
            for j in range(width):
                dx_TD[t, j] = inverse * (dy_TD[t, j] * scale_D[j] - x_TD[t, j] * total)
        for j in range(width):
            dscale_D[j] += part_D[j]


@compiled
def loss_forward(logits_TV, target_T, p_TV):
    """Probabilities of every symbol; returns the mean of -log p[target]."""
    tokens, vocab = logits_TV.shape
    lanes = 16
    top_L = np.empty(lanes, logits_TV.dtype)
    loss = 0.0
    for t in range(tokens):
        if not 0 <= target_T[t] < vocab:
            raise IndexError("a target is out of bounds")
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
        loss += math.log(np.float64(total)) + (np.float64(top) - logits_TV[t, target_T[t]])
        inverse = 1 / total
        for j in range(vocab):
            p_TV[t, j] *= inverse
    return loss / tokens


@compiled
def loss_backward(p_TV, target_T, scale, dlogits_TV):
    """Gradient of the logits, (p - 1[target]) * scale."""
    tokens, vocab = p_TV.shape
    for t in range(tokens):
        for j in range(vocab):
            dlogits_TV[t, j] = p_TV[t, j] * scale
        dlogits_TV[t, target_T[t]] -= scale


@compiled
def place_forward(x_TPJ, first, scale_QJ, epsilon, cos_NJ, sin_NJ, y_TQJ, inverse_T):
    """Norm (see `norm_forward`) of the half heads `first` to `first + Q` as one, then rotary positions.

    The halves (a, b) of each head become (a cos - b sin, b cos + a sin). P half heads of J numbers each
    in x, Q of them in y.
    """
    tokens, halves, size = y_TQJ.shape
    length = len(cos_NJ)
    for t in range(tokens):
        total = x_TPJ.dtype.type(0)
        for q in range(halves):
            for j in range(size):
                total += x_TPJ[t, first + q, j] * x_TPJ[t, first + q, j]
        inverse = x_TPJ.dtype.type(1 / math.sqrt(total / (halves * size) + epsilon))
        inverse_T[t] = inverse
        n = t % length
        for q in range(0, halves, 2):
            for j in range(size):
                a = x_TPJ[t, first + q, j] * inverse * scale_QJ[q, j]
                b = x_TPJ[t, first + q + 1, j] * inverse * scale_QJ[q + 1, j]
                y_TQJ[t, q, j] = a * cos_NJ[n, j] - b * sin_NJ[n, j]
                y_TQJ[t, q + 1, j] = b * cos_NJ[n, j] + a * sin_NJ[n, j]


@compiled
def place_backward(dy_TQJ, x_TPJ, first, scale_QJ, inverse_T, cos_NJ, sin_NJ, dx_TPJ, dscale_QJ):
    """Gradients of `place_forward`; dscale is added to."""
    tokens, halves, size = dy_TQJ.shape
    length = len(cos_NJ)
    d_QJ, part_QJ = np.empty((halves, size), x_TPJ.dtype), np.empty((halves, size), x_TPJ.dtype)
    for start in range(0, tokens, BLOCK):
        part_QJ[:] = 0
        for t in range(start, min(start + BLOCK, tokens)):
            n, inverse = t % length, inverse_T[t]
            for q in range(0, halves, 2):
                for j in range(size):
                    a, b = dy_TQJ[t, q, j], dy_TQJ[t, q + 1, j]
                    d_QJ[q, j] = a * cos_NJ[n, j] + b * sin_NJ[n, j]
                    d_QJ[q + 1, j] = b * cos_NJ[n, j] - a * sin_NJ[n, j]
            total = x_TPJ.dtype.type(0)
            for q in range(halves):
                for j in range(size):
                    product = d_QJ[q, j] * x_TPJ[t, first + q, j]
                    part_QJ[q, j] += product * inverse
                    total += product * scale_QJ[q, j]
            total *= inverse * inverse / (halves * size)
            for q in range(halves):
                for j in range(size):
                    x = x_TPJ[t, first + q, j]
                    dx_TPJ[t, first + q, j] = inverse * (d_QJ[q, j] * scale_QJ[q, j] - x * total)
        for q in range(halves):
            for j in range(size):
                dscale_QJ[q, j] += part_QJ[q, j]
