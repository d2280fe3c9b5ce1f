"""What a folder of OLMoE may hold that is refused, and what is not exported."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import OlmoeForCausalLM

from moebook.architecture import ModelConfig
from moebook.errors import InputError
from moebook.model import Decoder
from moebook.model.exchange import from_olmoe, to_olmoe

SPARSE = ModelConfig(width=32, ffn_width=48, heads=2, context=48, experts=8, active=2, granularity=2)
REFUSALS = [
    ({"model_type": "mixtral"}, "model_type: 'mixtral'"),
    ({"architectures": ["OlmoeModel"]}, "architectures: ['OlmoeModel']"),
    ({"attention_bias": True}, "attention_bias: True"),
    ({"attention_dropout": 0.1}, "attention_dropout: 0.1"),
    ({"clip_qkv": 8.0}, "clip_qkv: 8.0"),
    ({"tie_word_embeddings": True}, "tie_word_embeddings: True"),
    ({"hidden_act": "gelu"}, "hidden_act: 'gelu'"),
    ({"num_key_value_heads": 1}, "num_key_value_heads: 1: must be num_attention_heads, 2"),
    ({"head_dim": 8}, "head_dim: 8"),
    ({"sliding_window": 16}, "sliding_window: 16"),
    ({"quantization_config": {"bits": 4}}, "quantization_config: {'bits': 4}"),
    ({"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "rope_parameters.rope_type: 'linear'"),
    ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "rope_parameters.partial_rotary_factor: 0.5"),
    ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope_scaling.type: 'yarn'"),
    ({"rope_parameters": {"rope_theta": -1.0}}, "rope_theta: -1.0"),
    ({"rope_parameters": 7}, "rope_parameters: 7"),
    ({"num_experts": True}, "num_experts: True"),
    ({"num_experts": 1}, "experts: 1: fewer than the 2 active"),
    ({"num_experts": 16}, "shape [8, 32]: must be [16, 32]"),
    ({"num_experts_per_tok": 1}, "norm_topk_prob: True"),
    ({"num_experts_per_tok": 9}, "experts: 8: fewer than the 9 active"),
    ({"hidden_size": 32.0}, "hidden_size: 32.0"),
    ({"num_attention_heads": 3, "num_key_value_heads": None}, "heads: 3: must divide width 32"),
    ({"rms_norm_eps": 0}, "rms_norm_eps: 0"),
    ({"num_hidden_layers": 3}, "model.layers.2.input_layernorm.weight: missing"),
    ({"num_hidden_layers": 1}, "model.layers.1.input_layernorm.weight: a weight that a model of ours has no"),
    ({"norm_topk_prob": "yes"}, "norm_topk_prob: 'yes'"),
    ({"max_position_embeddings": 10**12}, "max_position_embeddings: 1000000000000: must be at most"),
    ({"moebook": 1}, "moebook: 1"),
    ({"moebook": {"granularity": 0}}, "moebook.granularity: 0"),
    ({"moebook": {"granularity": 2, "ffn_width": 64}}, "moebook.ffn_width: 64: granularity times"),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "hf"
    to_olmoe(Decoder(SPARSE), folder)
    return folder


@pytest.fixture
def folder(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "hf")
    return tmp_path / "hf"


def refused(folder, message):
    with pytest.raises(InputError) as caught:
        from_olmoe(folder)
    assert message in str(caught.value) and str(caught.value).startswith(f"{folder}")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("values, message", REFUSALS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_model_that_ours_cannot_be_is_refused(values, message, folder):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    assert str(refused(folder, message)).count("config.json") <= 1


@pytest.mark.parametrize("name, change, message", [
    ("model.layers.0.self_attn.q_proj.bias", lambda _: torch.zeros(32), "has no place for"),
    ("model.layers.1.mlp.experts.3.up_proj.weight", lambda _: None, "up_proj.weight: missing"),
    ("lm_head.weight", lambda t: t[:-1].contiguous(), "lm_head.weight: shape [255, 32]: must be [256, 32]"),
    ("model.norm.weight", lambda t: t.double(), "model.norm.weight: torch.float64: float32 does not hold it"),
])  # fmt: skip
def test_weights_that_do_not_fit_are_refused(name, change, message, folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    changed = change(tensors.pop(name, None))
    save_file(tensors | ({} if changed is None else {name: changed}), path)
    refused(folder, message)


def test_files_that_are_missing_or_damaged_are_refused(folder):
    weights, config = folder / "model.safetensors", folder / "config.json"
    content = weights.read_bytes()
    for damaged in (content[:-4], content[:100], b"", b"\xff" * 64):
        weights.write_bytes(damaged)
        refused(folder, "model.safetensors: damaged, or not safetensors")
    weights.unlink()
    refused(folder, "model.safetensors: missing")
    for damaged in ("{", "[1]", '{"model_type": "olmoe", "rope_theta": Infinity}'):
        config.write_text(damaged)
        refused(folder, "config.json: ")
    config.unlink()
    refused(folder, "config.json: missing")
    shutil.rmtree(folder)
    refused(folder, "no such folder")


def test_shards_that_are_missing_or_elsewhere_are_refused(folder):
    theirs = OlmoeForCausalLM.from_pretrained(folder)
    theirs.save_pretrained(folder / "shards", max_shard_size="40KB")
    index = folder / "shards" / "model.safetensors.index.json"
    listed = json.loads(index.read_text())
    first = sorted(set(listed["weight_map"].values()))[0]

    index.write_text(json.dumps({"weight_map": listed["weight_map"] | {"lm_head.weight": "../config.json"}}))
    refused(folder / "shards", "'../config.json': must be a file in the same folder")
    index.write_text(json.dumps({"weight_map": dict.fromkeys(listed["weight_map"], first)}))
    refused(folder / "shards", "missing, though model.safetensors.index.json has it there")
    index.write_text("{}")
    refused(folder / "shards", "weight_map: null")
    index.write_text(json.dumps(listed))
    (folder / "shards" / first).unlink()
    refused(folder / "shards", f"{first}: missing")


def test_what_olmoe_cannot_express_is_not_exported(tmp_path):
    def refused(model, message):
        with pytest.raises(InputError) as caught:
            to_olmoe(model, tmp_path / "hf")
        assert message in str(caught.value) and "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    refused(Decoder(replace(SPARSE, shared_experts=1)), "model: shared_experts: 1: OLMoE has no such field")
    refused(Decoder(SPARSE, biased=True), "model: blocks.0.bias_E: OLMoE has neither selection biases")
    refused(Decoder(SPARSE).double(), "model: embedding.weight: torch.float64: only float32")
