"""A model in a folder of its own: one that `moebook train` wrote, or one imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save

from moebook.architecture import ModelConfig
from moebook.errors import InputError
from moebook.model.decoder import Decoder
from moebook.model.folder import load_tensors, pretty_json, read_json, write_folder
from moebook.runs import Record

FORMAT = 1


class StoredModel(NamedTuple):
    """A model, and the record of the run that trained it, if there is one."""

    model: Decoder
    record: Record | None


def load_run(folder: Path | str) -> StoredModel:
    """The model in `model.safetensors`, of the shape that `record.json`, or else `config.json`, gives.

    Raises InputError naming file, field and value where they are missing, damaged, or do not fit.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    stored, described = folder / "record.json", folder / "config.json"
    record = None
    if stored.is_file():
        record = Record.from_json(stored.read_bytes(), str(stored))
        config = _config(record.model, f"{stored}: config.model")
        if not record.done:
            raise InputError(f"{stored}: status: {record.status}: only a run that is done has a model")
    elif described.exists():
        values = read_json(described)
        if "model_type" in values:
            raise InputError(
                f"{described}: model_type: {values['model_type']!r}: transformers': import it first"
            )
        if values.get("format") != FORMAT:
            raise InputError(f"{described}: format: {values.get('format')!r}: only format {FORMAT} is known")
        config = _config(values.get("model"), f"{described}: model")
    else:
        raise InputError(f"{folder}: neither record.json nor config.json: no run and no imported model")

    path = folder / "model.safetensors"
    weights = load_tensors(path)
    model = Decoder(config, biased=any(name.endswith(".bias_E") for name in weights))
    expected = model.state_dict()
    for name in sorted(set(expected) ^ set(weights)):
        raise InputError(f"{path}: {name}: {'missing' if name in expected else 'not a weight of this model'}")
    for name, tensor in expected.items():
        found = weights[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise InputError(
                f"{path}: {name}: {list(found.shape)} of {found.dtype}: "
                f"must be {list(tensor.shape)} of {tensor.dtype}"
            )
    model.load_state_dict(weights)
    return StoredModel(model, record)


def save_model(model: Decoder, folder: Path | str, *, force: bool = False) -> tuple[str, ...]:
    """Write a model without a record as `load_run` reads it: `config.json` and `model.safetensors`.

    Returns the names of the files. Raises InputError where the folder cannot be replaced.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    files = {
        "config.json": pretty_json({"format": FORMAT, "model": asdict(model.config)}),
        "model.safetensors": save(weights),
    }
    write_folder(folder, files, force)
    return tuple(files)


def _config(values: Mapping[str, Any] | Any, where: str) -> ModelConfig:
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: {values!r}: must be a mapping")
    try:
        return ModelConfig(**values)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error
    except InputError as error:
        raise InputError(f"{where}.{str(error).removeprefix('model: ')}") from error
