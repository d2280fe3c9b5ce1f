"""Exchange with transformers: the same function, the same gradients, the same bits back."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, OlmoeConfig, OlmoeForCausalLM
from transformers.models.olmoe.modeling_olmoe import load_balancing_loss_func

from moebook.architecture import ModelConfig
from moebook.model import Decoder
from moebook.model.exchange import from_olmoe, from_olmoe_config, to_olmoe, to_olmoe_config

DENSE = ModelConfig(width=32, ffn_width=48, heads=2, context=48)
SPARSE = replace(DENSE, experts=8, active=2, granularity=2)
SHAPES = [
    (1, 1, 1), (4, 1, 1), (4, 2, 1), (4, 4, 2), (8, 2, 2), (16, 1, 2), (16, 4, 4),
    (64, 1, 1), (64, 2, 2), (64, 4, 4),
]  # fmt: skip


def trained_like(config, seed=0):
    """A model whose every weight matters: norms away from one, logits of tens, a router that prefers."""
    model = Decoder(config, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                parameter.copy_(1 + 0.3 * drawn)
            elif name == "output.weight":
                parameter.copy_(0.5 * drawn)
            elif "router" in name:
                parameter.mul_(2)
    return model


def symbols(config, sequences=2, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(config.vocab, (sequences, config.context), generator=generator)


def exported(model, folder, **how):
    to_olmoe(model, folder)
    return OlmoeForCausalLM.from_pretrained(folder, **how)


def same_bits(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor.view(torch.int32), other[name].view(torch.int32)), name


@pytest.mark.parametrize("experts, active, granularity", SHAPES)
@pytest.mark.parametrize("renormalise", [True, False])
def test_logits_are_those_of_transformers(experts, active, granularity, renormalise, tmp_path):
    config = replace(
        DENSE, experts=experts, active=active, granularity=granularity, renormalise=renormalise,
        rope_theta=500.0, norm_eps=1e-3,
    )  # fmt: skip
    model = trained_like(config)
    theirs = exported(model, tmp_path / "hf", attn_implementation="eager", experts_implementation="eager")
    with torch.no_grad():
        ours_BNV, theirs_BNV = model(symbols(config)).logits_BNV, theirs(symbols(config)).logits
    assert ours_BNV.abs().max() > 10
    assert (ours_BNV - theirs_BNV).abs().max() <= 1e-5


@pytest.mark.parametrize("how", [
    {"attn_implementation": "sdpa", "experts_implementation": "grouped_mm"},
    {"attn_implementation": "eager", "experts_implementation": "batched_mm"},
    {},
])  # fmt: skip
def test_whatever_kernels_transformers_takes(how, tmp_path):
    model = trained_like(SPARSE)
    theirs = exported(model, tmp_path / "hf", **how)
    with torch.no_grad():
        difference = model(symbols(SPARSE)).logits_BNV - theirs(symbols(SPARSE)).logits
    assert difference.abs().max() <= 1e-5


def gradients_by_name(model, theirs):
    """Pairs of gradients of the same weights, by our names; the layouts are written out here once more."""
    named = dict(model.named_parameters())
    pairs = {
        "embedding.weight": theirs.model.embed_tokens.weight.grad,
        "norm.weight": theirs.model.norm.weight.grad,
        "output.weight": theirs.lm_head.weight.grad,
    }
    for index, layer in enumerate(theirs.model.layers):
        attention, experts = layer.self_attn, layer.mlp.experts
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        block = {
            "norm_attention.weight": layer.input_layernorm.weight.grad,
            "norm_experts.weight": layer.post_attention_layernorm.weight.grad,
            "attention.qkv.weight": torch.cat([part.weight.grad for part in parts]),
            "attention.out.weight": attention.o_proj.weight.grad,
            "attention.norm_q.weight": attention.q_norm.weight.grad,
            "attention.norm_k.weight": attention.k_norm.weight.grad,
            "experts.in_EDF2": experts.gate_up_proj.grad.transpose(1, 2),
            "experts.out_EFD": experts.down_proj.grad.transpose(1, 2),
        }
        if model.config.routed:
            block["router_ED"] = layer.mlp.gate.weight.grad
        pairs |= {f"blocks.{index}.{name}": gradient for name, gradient in block.items()}
    assert pairs.keys() == named.keys()
    return {name: (named[name].grad, pairs[name]) for name in named}


def assert_gradients_agree(model, theirs):
    for name, (mine, other) in gradients_by_name(model, theirs).items():
        assert other.abs().max() > 0, name
        assert (mine - other).abs().max() <= 1e-5 * other.abs().max(), name


@pytest.mark.parametrize("experts, active, granularity", SHAPES)
def test_gradients_of_every_weight_are_those_of_transformers(experts, active, granularity, tmp_path):
    config = replace(DENSE, experts=experts, active=active, granularity=granularity)
    model = trained_like(config)
    theirs = exported(model, tmp_path / "hf", attn_implementation="eager", experts_implementation="eager")
    tokens_BN = symbols(config)
    logits_BNV = model(tokens_BN).logits_BNV
    loss = functional.cross_entropy(logits_BNV[:, :-1].flatten(0, 1), tokens_BN[:, 1:].flatten())
    loss.backward()
    found = theirs(tokens_BN, labels=tokens_BN)
    found.loss.backward()
    assert abs(loss - found.loss) <= 1e-5
    assert_gradients_agree(model, theirs)
    if not config.routed:  # a softmax over one expert is flat: a fine-tuned dense model stays one
        assert not any(layer.mlp.gate.weight.grad.any() for layer in theirs.model.layers)


@pytest.mark.parametrize("layers", [1, 2])
def test_gradients_agree_with_the_balance_loss_in_them(layers, tmp_path):
    """Theirs is K times ours in one layer; over layers ours is a mean, theirs puts their tokens together."""
    config, weight = replace(SPARSE, layers=layers), 0.5
    model = trained_like(config)
    to_olmoe(model, tmp_path / "hf")
    path = tmp_path / "hf" / "config.json"
    coefficient = to_olmoe_config(config, weight)["router_aux_loss_coef"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"router_aux_loss_coef": coefficient}))
    theirs = OlmoeForCausalLM.from_pretrained(tmp_path / "hf", attn_implementation="eager")
    tokens_BN = symbols(config)
    output = model(tokens_BN)
    loss = functional.cross_entropy(output.logits_BNV[:, :-1].flatten(0, 1), tokens_BN[:, 1:].flatten())
    (loss + weight * output.balance_loss).backward()
    if layers == 1:
        theirs(tokens_BN, labels=tokens_BN, output_router_logits=True).loss.backward()
    else:
        found = theirs(tokens_BN, labels=tokens_BN)
        logits = theirs(tokens_BN, output_router_logits=True).router_logits
        balance = [load_balancing_loss_func((part,), config.experts, config.active) for part in logits]
        (found.loss + weight * sum(balance) / layers / config.active).backward()
    assert_gradients_agree(model, theirs)


@pytest.mark.parametrize("experts, active", [(4, 1), (8, 2), (64, 4)])
def test_balance_loss_in_both_conventions(experts, active, tmp_path):
    config = replace(SPARSE, experts=experts, active=active)
    model = trained_like(config)
    theirs = exported(model, tmp_path / "hf")
    with torch.no_grad():
        ours = model(symbols(config)).balance_loss
        logits = theirs(symbols(config), output_router_logits=True).router_logits
    layers = [load_balancing_loss_func((layer,), experts, active) for layer in logits]
    torch.testing.assert_close(ours, sum(layers) / len(layers) / active, rtol=1e-5, atol=0)
    together = load_balancing_loss_func(logits, experts, active) / active
    # Shares of both layers averaged before they are multiplied: the layers' imbalances may cancel there.
    assert abs(together - ours) > 1e-3


def test_the_auto_classes_load_by_folder(tmp_path):
    to_olmoe(trained_like(SPARSE), tmp_path / "hf")
    theirs, how = AutoModelForCausalLM.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert type(theirs) is OlmoeForCausalLM and theirs.dtype == torch.float32
    assert not any(how.values()), how
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert len(tokenizer) == 256 and tokenizer.all_special_tokens == []
    assert tokenizer.model_max_length == SPARSE.context


TEXTS = [
    "", "a", "plain words", "  leading and   many  spaces ", "\n\n\t\r\n", "a .  b , n't  ' s !",
    "".join(map(chr, range(0x180))), "\x00\x01\x7f\x80\x9f\xa0\xad",
    "naïve Ωμέγα 漢字 العربية", "👩‍👩‍👧‍👦🏳️‍🌈😀",
    "e\u0301 \u00e9 ﬁ ½ K", "\ufeff\u200b\u2028 \u202e\U0010ffff\uffff", "<|endoftext|></s><s>[PAD]<0x0A>",
    "Ġ Ċ Ā ▁", "x" * 5000,
]  # fmt: skip


def test_the_tokenizer_is_bytes(tmp_path):
    to_olmoe(Decoder(DENSE), tmp_path / "hf")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(0x110000, (3000,), generator=generator).tolist()
    drawn = "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)
    for text in [*TEXTS, drawn]:
        symbols = tokenizer(text)["input_ids"]
        assert symbols == list(text.encode())
        assert tokenizer.decode(symbols) == text
        assert tokenizer.decode(symbols, skip_special_tokens=True) == text
    assert [tokenizer.convert_ids_to_tokens(i) for i in (0, 10, 32, 65)] == ["Ā", "Ċ", "Ġ", "A"]
    assert set(tokenizer("a")) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("config", [DENSE, SPARSE])
def test_greedy_text_is_the_same(config, tmp_path):
    model = trained_like(config)
    theirs = exported(model, tmp_path / "hf")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    prompt = tokenizer("def main(", return_tensors="pt")
    written = theirs.generate(**prompt, do_sample=False, max_length=config.context)[0].tolist()
    mine = prompt["input_ids"][0].tolist()
    with torch.no_grad():
        while len(mine) < config.context and (len(mine) == 9 or mine[-1] != 0):
            mine.append(model(torch.tensor([mine])).logits_BNV[0, -1].argmax().item())
    assert written == mine and len(set(mine)) > 12


@pytest.mark.parametrize("config", [
    DENSE, SPARSE, replace(SPARSE, active=1), replace(SPARSE, active=1, renormalise=False),
    replace(SPARSE, renormalise=False), replace(DENSE, granularity=2, renormalise=False),
    replace(SPARSE, vocab=300, layers=3, heads=4, context=7, rope_theta=1234.5678901, norm_eps=3e-7),
])  # fmt: skip
def test_there_and_back_are_the_same_bits(config, tmp_path):
    model = trained_like(config)
    to_olmoe(model, tmp_path / "hf")
    back = from_olmoe(tmp_path / "hf")
    assert back.config == config
    same_bits(model, back)
    assert (tmp_path / "hf" / "tokenizer.json").exists() == (config.vocab == 256)
    AutoModelForCausalLM.from_pretrained(tmp_path / "hf")


@pytest.mark.parametrize("how", [{}, {"save_original_format": False}, {"max_shard_size": "40KB"}])
@pytest.mark.parametrize("own", [True, False])
def test_what_transformers_saves_is_read(how, own, tmp_path):
    """Its own random model, and ours after a stay there: three matrices an expert, stacked, in shards."""
    if own:
        theirs = exported(trained_like(SPARSE), tmp_path / "hf")
    else:
        torch.manual_seed(0)
        theirs = OlmoeForCausalLM(OlmoeConfig(
            vocab_size=256, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            num_experts=8, num_experts_per_tok=2, max_position_embeddings=48, initializer_range=0.3,
        ))  # fmt: skip
    theirs.save_pretrained(tmp_path / "saved", **how)
    assert (tmp_path / "saved" / "model.safetensors.index.json").exists() == ("max_shard_size" in how)
    model = from_olmoe(tmp_path / "saved")
    if own:
        assert model.config == SPARSE
    else:
        assert model.config == replace(SPARSE, ffn_width=24, granularity=1, renormalise=False)
    with torch.no_grad():
        difference = model(symbols(SPARSE)).logits_BNV - theirs(symbols(SPARSE)).logits
    assert difference.abs().max() <= 1e-5
    same_bits(model, from_olmoe(tmp_path / "saved"))


def test_one_expert_is_the_dense_model_whatever_its_router(tmp_path):
    torch.manual_seed(0)
    theirs = OlmoeForCausalLM(OlmoeConfig(
        vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_experts=1, num_experts_per_tok=1, norm_topk_prob=True, initializer_range=0.2,
    ))  # fmt: skip
    assert theirs.model.layers[0].mlp.gate.weight.any()
    theirs.save_pretrained(tmp_path / "saved")
    model = from_olmoe(tmp_path / "saved")
    assert not model.config.routed and model.config.context == 4096
    with torch.no_grad():
        difference = model(symbols(DENSE)).logits_BNV - theirs(symbols(DENSE)).logits
    assert difference.abs().max() <= 1e-5


def test_half_precision_is_read_exactly(tmp_path):
    to_olmoe(trained_like(SPARSE), tmp_path / "hf")
    path = tmp_path / "hf" / "model.safetensors"
    halved = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
    save_file(halved, path)
    model = from_olmoe(tmp_path / "hf")
    assert torch.equal(model.output.weight, halved["lm_head.weight"].float())


def test_fields_left_out_have_the_defaults_of_transformers(tmp_path):
    defaults = OlmoeConfig()
    config = from_olmoe_config({"model_type": "olmoe"}, "config.json")
    assert config == from_olmoe_config(defaults.to_dict(), "config.json")
    assert config.experts == defaults.num_experts and config.context == defaults.max_position_embeddings


def test_a_padding_symbol_is_not_set_where_it_would_cut_a_gradient():
    written = to_olmoe_config(SPARSE)
    assert written["pad_token_id"] is None and written["eos_token_id"] == 0
    assert to_olmoe_config(replace(SPARSE, vocab=300))["eos_token_id"] is None
