"""A decoder to and from a folder that transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from moebook.errors import InputError
from moebook.files import canonical_json
from moebook.model.decoder import Decoder
from moebook.model.exchange.card import model_card
from moebook.model.exchange.configuration import SEPARATOR, from_olmoe_config, to_olmoe_config
from moebook.model.exchange.tokenizer import byte_tokenizer
from moebook.model.exchange.weights import from_olmoe_weights, to_olmoe_weights
from moebook.model.folder import load_tensors, pretty_json, read_json, write_folder
from moebook.runs import Record


def to_olmoe(
    model: Decoder, folder: Path | str, *, record: Record | None = None, force: bool = False
) -> tuple[str, ...]:
    """Write a folder that `AutoModelForCausalLM` and, where symbols are bytes, `AutoTokenizer` load.

    Args:
        model: its weights must be fp32.
        folder: made, or an earlier export replaced; whole or not at all.
        record: the run that trained the model, for the model card and `router_aux_loss_coef`.
        force: replace whatever the folder holds.

    Returns the names of the files.

    Raises InputError naming a field or weight that OLMoE cannot express, or a folder that cannot be replaced.
    """
    config = model.config
    files: dict[str, str | bytes] = {}

    def add(name: str, values: dict[str, Any]) -> None:
        files[name] = pretty_json(values)

    balance_weight = record.recipe.get("balance_weight", 0.0) if record else 0.0
    add("config.json", to_olmoe_config(config, balance_weight))
    files["model.safetensors"] = save(to_olmoe_weights(config, model.state_dict()), {"format": "pt"})
    if config.vocab == 256:
        ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), SEPARATOR)
        add("generation_config.json", ends)
        for name, values in byte_tokenizer(config.context).items():
            add(name, values)
    else:
        add("generation_config.json", {})
    files["README.md"] = model_card(config, record)
    write_folder(folder, files, force)
    return tuple(files)


def from_olmoe(folder: Path | str) -> Decoder:
    """The model in a folder that `to_olmoe`, or `save_pretrained` of transformers, wrote; one file or shards.

    Raises InputError naming file, field and value where files are missing or damaged, or where the model is
    one that ours cannot be (biases, clipping, grouped queries, tied embeddings, scaled positions...).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    path = folder / "config.json"
    config = from_olmoe_config(read_json(path), str(path))
    where, tensors = _tensors(folder)
    weights = from_olmoe_weights(config, tensors, str(where))
    model = Decoder(config)
    model.load_state_dict(weights)
    return model


def _tensors(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """All tensors of a checkpoint, and the file that names them: the weights, or the index of the shards."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists() or not index.exists():
        return single, load_tensors(single)
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index}: weight_map: {canonical_json(places)}: must name a file for each tensor")
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted({str(place) for place in places.values()}):
        if Path(shard).name != shard:
            raise InputError(f"{index}: weight_map: {shard!r}: must be a file in the same folder")
        held = load_tensors(folder / shard)
        for name in (name for name, place in places.items() if place == shard):
            if name not in held:
                raise InputError(f"{folder / shard}: {name}: missing, though {index.name} has it there")
            tensors[name] = held[name]
    return index, tensors
