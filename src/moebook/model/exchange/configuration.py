"""Our configuration as OLMoE's `config.json`, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from moebook.architecture import ModelConfig
from moebook.errors import InputError

#: Our field: OLMoE's, for those that mean the same.
SAME = {
    "vocab": "vocab_size", "context": "max_position_embeddings",
    "width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
    "experts": "num_experts", "active": "num_experts_per_tok", "norm_eps": "rms_norm_eps",
}  # fmt: skip
#: Our fields that the rest of `config.json` expresses, or the key OURS in it.
OTHERS = ("ffn_width", "granularity", "renormalise", "rope_theta")
#: Key in `config.json` of what OLMoE has no field for; transformers keeps it when it saves a model again.
OURS = "moebook"
#: What transformers takes for a field that `config.json` leaves out.
DEFAULTS = {
    "vocab_size": 50_304, "hidden_size": 2048, "intermediate_size": 2048, "num_hidden_layers": 16,
    "num_attention_heads": 16, "num_experts": 64, "num_experts_per_tok": 8, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}  # fmt: skip
#: OLMoE's fields, and keys that any model of transformers may have, with the one value that we can express.
FIXED = {
    "attention_bias": False, "attention_dropout": 0.0, "clip_qkv": None, "hidden_act": "silu",
    "tie_word_embeddings": False, "sliding_window": None, "quantization_config": None,
    "partial_rotary_factor": None,
}  # fmt: skip
DEFAULT_THETA = 10_000.0
#: Positions are tables in memory; longer ones are a slip in the file.
MOST_CONTEXT = 2**24
PLAIN_ROPE = [("rope_type", "default"), ("type", "default"), ("partial_rotary_factor", 1)]
#: The symbol before and after each document of our texts, when symbols are bytes.
SEPARATOR = 0


def to_olmoe_config(config: ModelConfig, balance_weight: float = 0.0) -> dict[str, Any]:
    """OLMoE's `config.json` for a model of ours.

    An expert's width is `intermediate_size`; the granularity that led to it stands under the key OURS. With
    K = 1 our router's weight is never rescaled, so `norm_topk_prob` is false there whatever `renormalise`
    says. The padding symbol is none: transformers would cut its embedding's gradient.

    Args:
        config: the model on paper.
        balance_weight: weight of our balance loss in training. Ours is a mean over the T * K assignments and
            over layers, that of transformers sums over K and puts all layers' tokens together: in one layer
            theirs is K times ours, so `router_aux_loss_coef` is the weight over K.

    Raises InputError naming a field whose value OLMoE cannot express.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name not in SAME and field.name not in OTHERS and value != field.default:
            raise InputError(f"model: {field.name}: {value!r}: OLMoE has no such field")
    separator = SEPARATOR if config.vocab == 256 else None
    return {theirs: getattr(config, ours) for ours, theirs in SAME.items()} | {
        "architectures": ["OlmoeForCausalLM"],
        "model_type": "olmoe",
        "dtype": "float32",
        "intermediate_size": config.expert_width,
        "num_key_value_heads": config.heads,
        "norm_topk_prob": config.renormalise and config.active > 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": float(config.rope_theta)},
        "rope_theta": float(config.rope_theta),  # where transformers 4 looks
        "router_aux_loss_coef": balance_weight / config.active,
        "output_router_logits": False,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "clip_qkv": None,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": separator,
        "eos_token_id": separator,
        "pad_token_id": None,
        "use_cache": True,
        OURS: {
            "granularity": config.granularity,
            "ffn_width": config.ffn_width,
            "renormalise": config.renormalise,
        },
    }


def from_olmoe_config(values: Mapping[str, Any], where: str) -> ModelConfig:
    """Our configuration of the model in an OLMoE `config.json`; `where` (the file) opens each error.

    A field left out has transformers' default. Granularity is 1 unless the key OURS says otherwise. What
    only matters in training (auxiliary loss, padding symbol) does not come along.

    Raises InputError naming file, field and value where OLMoE's model is not one of ours.
    """

    def refuse(name: str, value: Any, rule: str) -> None:
        raise InputError(f"{where}: {name}: {value!r}: {rule}")

    if values.get("model_type") != "olmoe":
        refuse("model_type", values.get("model_type"), "only olmoe can be read")
    architectures = values.get("architectures") or ["OlmoeForCausalLM"]
    if architectures != ["OlmoeForCausalLM"]:
        refuse("architectures", architectures, "only OlmoeForCausalLM can be read")
    for name, allowed in FIXED.items():
        if values.get(name, allowed) != allowed:
            refuse(name, values[name], f"a model of ours has {allowed!r}")

    ours = {mine: values.get(theirs, DEFAULTS[theirs]) for mine, theirs in SAME.items()}
    expert_width = values.get("intermediate_size", DEFAULTS["intermediate_size"])
    numbers = {SAME[mine]: value for mine, value in ours.items()} | {"intermediate_size": expert_width}
    for theirs, value in numbers.items():
        whole = theirs != "rms_norm_eps"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or value <= 0:
            refuse(theirs, value, f"must be a {'whole' if whole else 'positive'} number{' above 0' * whole}")
    if ours["context"] > MOST_CONTEXT:
        refuse(SAME["context"], ours["context"], f"must be at most {MOST_CONTEXT}")
    heads, head_width = ours["heads"], ours["width"] / ours["heads"]
    if values.get("num_key_value_heads") not in (None, heads):
        refuse("num_key_value_heads", values["num_key_value_heads"], f"must be num_attention_heads, {heads}")
    if values.get("head_dim") is not None and values["head_dim"] != head_width:
        refuse("head_dim", values["head_dim"], f"must be hidden_size / num_attention_heads, {head_width:g}")

    normalised, theta = values.get("norm_topk_prob", False), _theta(values, refuse)
    if not isinstance(normalised, bool):
        refuse("norm_topk_prob", normalised, "must be true or false")
    if ours["active"] == 1 < ours["experts"] and normalised:
        refuse("norm_topk_prob", normalised, "at one expert a token, ours keeps the router's weight")
    extra = values.get(OURS, {})
    if not isinstance(extra, Mapping):
        refuse(OURS, extra, "must be a mapping")
    granularity = extra.get("granularity", 1)
    if isinstance(granularity, bool) or not isinstance(granularity, int) or granularity < 1:
        refuse(f"{OURS}.granularity", granularity, "must be a whole number above 0")
    ffn_width = granularity * expert_width
    if extra.get("ffn_width", ffn_width) != ffn_width:
        refuse(f"{OURS}.ffn_width", extra["ffn_width"], f"granularity times intermediate_size is {ffn_width}")
    try:
        return ModelConfig(
            **ours, ffn_width=ffn_width, granularity=granularity, rope_theta=theta,
            renormalise=normalised if ours["active"] > 1 else extra.get("renormalise", normalised),
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{where}: {str(error).removeprefix('model: ')}") from error


def _theta(values: Mapping[str, Any], refuse) -> float:
    """The base of the rotary positions, from where transformers 5, or 4, puts it; scaled ones are refused."""
    found = values.get("rope_theta", DEFAULT_THETA)
    for name in ("rope_scaling", "rope_parameters"):  # the second has the last word
        rope = values.get(name)
        if rope is None:
            continue
        if not isinstance(rope, Mapping):
            refuse(name, rope, "must be a mapping")
        for key, value in rope.items():
            plain = value is None or key == "rope_theta" or (key, value) in PLAIN_ROPE
            if not plain:
                refuse(f"{name}.{key}", value, "a model of ours has plain rotary positions")
        found = rope.get("rope_theta") or found
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 < found < math.inf:
        refuse("rope_theta", found, "must be a positive number")
    return float(found)
