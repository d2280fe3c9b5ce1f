"""The model card of an exported model."""

from __future__ import annotations

from moebook.architecture import ModelConfig, counts
from moebook.runs import Record

LOAD = """
## Load it

```python
from transformers import AutoModelForCausalLM{also}
model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
{tokenizer}```
"""


def model_card(config: ModelConfig, record: Record | None) -> str:
    """`README.md`: what the model is, what it was trained on and how well, and how to load it."""
    found = counts(config)
    if config.routed:
        title = f"Mixture of experts: {config.active} of {config.experts} experts a token"
        kind = "mixture-of-experts"
        experts = (
            f"{config.experts} of width {config.expert_width}, {config.active} used per token; "
            f"granularity {config.granularity}"
        )
    else:
        title, kind = "Dense model", "dense"
        experts = f"one of width {config.expert_width}, always used (its router is zero: OLMoE must have one)"
    rows = {
        "Architecture": "OLMoE (`OlmoeForCausalLM`), float32",
        "Size": f"width {config.width}, {config.layers} layers of {config.heads} heads",
        "Context": f"{config.context} symbols",
        "Experts in a layer": experts,
        "Sparsity (E - K) / E": f"{config.sparsity:.6g}",
        "Parameters": f"{found.params:,}; {found.params_active:,} active per token",
    }
    rows |= _run(record) if record else {"Training": "not known: these weights came without a record"}
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    parts = [
        f"---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [moebook, {kind}]\n---\n",
        f"# {title}\n",
        "A small language model, exported by moebook.\n",
        f"| | |\n|---|---|\n{table}",
    ]
    if config.vocab == 256:
        parts.append(LOAD.format(
            also=", AutoTokenizer",
            tokenizer='tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")\n',
        ))  # fmt: skip
        parts.append("A symbol is a byte of UTF-8.")
        if record:
            parts[-1] += (
                " In training, one byte 0 stood before each document: begin a prompt\n"
                'with `"\\0"` for the start of one. Generation ends where the model writes it.'
            )
        parts[-1] += "\n"
    else:
        parts.append(LOAD.format(also="", tokenizer=""))
        parts.append(f"Its tokenizer, of {config.vocab} symbols, is not part of this folder.\n")
    return "\n".join(parts)


def _run(record: Record) -> dict[str, str]:
    """What a record says of a model's training."""
    measures, text = record.measures, record.config["text"]
    rows = {
        "Training text": f"{text['name']}, sha256 `{text['sha256']}`",
        "Training": f"{record.tokens:,} tokens, {measures['compute_flops']:.4g} FLOPs, seed {record.seed}",
    }
    if measures.get("loss_nats") is not None:
        error = measures.get("loss_stderr_nats")
        shown = f"{measures['loss_nats']:.4f}" + (f" ± {error:.4f}" if error is not None else "")
        rows["Held-out loss"] = f"{shown} nats per byte ({measures['bits_per_byte']:.4f} bits)"
    return rows | {"Key of the run": f"`{record.key}`"}
