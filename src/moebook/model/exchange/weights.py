"""Our weights under OLMoE's names and in its layout, and back; every value keeps its bits.

Shapes: D width, F expert width, E experts, V symbols. transformers knows two layouts of the experts: the one
on the hub and on disk (three matrices an expert), and the one in its memory, which it can be told to save
(two stacks a layer). We write the first, which transformers 4 reads too, and read both.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moebook.architecture import ModelConfig
from moebook.errors import InputError

#: Types whose values fp32 holds exactly.
EXACT = (torch.float32, torch.bfloat16, torch.float16)
#: Ours: OLMoE's, outside of the blocks and of one block, for tensors that are the same in both.
SHELL = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
BLOCK = {
    "norm_attention.weight": "input_layernorm.weight",
    "norm_experts.weight": "post_attention_layernorm.weight",
    "attention.out.weight": "self_attn.o_proj.weight",
    "attention.norm_q.weight": "self_attn.q_norm.weight",
    "attention.norm_k.weight": "self_attn.k_norm.weight",
}


def to_olmoe_weights(config: ModelConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A decoder's `state_dict` as an `OlmoeForCausalLM` checkpoint holds it: contiguous fp32 on the CPU.

    A dense model becomes one expert with a router of zeros: a softmax over one expert is 1.

    Raises InputError naming a tensor that is not fp32, or that OLMoE has no place for.
    """
    left = {name: tensor.detach().cpu() for name, tensor in weights.items()}
    for name, tensor in left.items():
        if tensor.dtype != torch.float32:
            raise InputError(f"model: {name}: {tensor.dtype}: only float32 is exported")
    found = {theirs: left.pop(ours) for ours, theirs in SHELL.items()}
    for layer in range(config.layers):
        mine, theirs = f"blocks.{layer}", f"model.layers.{layer}"
        found |= {f"{theirs}.{new}": left.pop(f"{mine}.{old}") for old, new in BLOCK.items()}
        qkv = left.pop(f"{mine}.attention.qkv.weight").chunk(3)
        found |= {f"{theirs}.self_attn.{p}_proj.weight": w_DD for p, w_DD in zip("qkv", qkv, strict=True)}
        zeros_ED = torch.zeros(1, config.width)
        found[f"{theirs}.mlp.gate.weight"] = left.pop(f"{mine}.router_ED") if config.routed else zeros_ED
        gate_EDF, up_EDF = left.pop(f"{mine}.experts.in_EDF2").chunk(2, -1)
        down_EFD = left.pop(f"{mine}.experts.out_EFD")
        for name, stack in (("gate", gate_EDF), ("up", up_EDF), ("down", down_EFD)):
            for e, matrix in enumerate(stack):
                found[f"{theirs}.mlp.experts.{e}.{name}_proj.weight"] = matrix.T
    if left:
        raise InputError(
            f"model: {min(left)}: OLMoE has neither selection biases nor other weights of this kind"
        )
    return {name: tensor.contiguous() for name, tensor in found.items()}


def from_olmoe_weights(config: ModelConfig, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The inverse of `to_olmoe_weights`, from either layout; `where` (the file) opens each error.

    Half precision is taken to fp32, which holds it exactly. The router of a single expert is dropped.

    Raises InputError naming file and tensor where one is missing, unknown, of another shape or type.
    """
    left = dict(tensors)

    def take(name: str, *shape: int) -> Tensor:
        if name not in left:
            raise InputError(f"{where}: {name}: missing")
        tensor = left.pop(name)
        if tuple(tensor.shape) != shape:
            raise InputError(f"{where}: {name}: shape {list(tensor.shape)}: must be {list(shape)}")
        if tensor.dtype not in EXACT:
            raise InputError(f"{where}: {name}: {tensor.dtype}: float32 does not hold it exactly")
        return tensor.float()

    D, F, E, V = config.width, config.expert_width, config.experts, config.vocab
    found = {ours: take(theirs, *((D,) if "norm" in ours else (V, D))) for ours, theirs in SHELL.items()}
    for layer in range(config.layers):
        mine, theirs = f"blocks.{layer}", f"model.layers.{layer}"
        for ours, name in BLOCK.items():
            found[f"{mine}.{ours}"] = take(f"{theirs}.{name}", *((D,) if "norm" in ours else (D, D)))
        qkv = [take(f"{theirs}.self_attn.{part}_proj.weight", D, D) for part in "qkv"]
        found[f"{mine}.attention.qkv.weight"] = torch.cat(qkv)
        router_ED = take(f"{theirs}.mlp.gate.weight", E, D)
        if config.routed:
            found[f"{mine}.router_ED"] = router_ED
        at = f"{theirs}.mlp.experts"
        if f"{at}.gate_up_proj" in left:
            in_EF2D, out_EDF = take(f"{at}.gate_up_proj", E, 2 * F, D), take(f"{at}.down_proj", E, D, F)
        else:
            gate, up, down = (
                torch.stack([take(f"{at}.{e}.{name}_proj.weight", *shape) for e in range(E)])
                for name, shape in (("gate", (F, D)), ("up", (F, D)), ("down", (D, F)))
            )
            in_EF2D, out_EDF = torch.cat((gate, up), 1), down
        found[f"{mine}.experts.in_EDF2"] = in_EF2D.mT.contiguous()
        found[f"{mine}.experts.out_EFD"] = out_EDF.mT.contiguous()
    if left:
        raise InputError(f"{where}: {min(left)}: a weight that a model of ours has no place for")
    return found
