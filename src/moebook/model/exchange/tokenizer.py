"""A tokenizer of bytes for transformers: symbol i is byte i, one symbol a byte, nothing else."""

from __future__ import annotations

from typing import Any

#: Bytes that GPT-2's byte-level alphabet writes as the character of the same number (Radford et al. 2019).
PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))


def byte_letters() -> list[str]:
    """The character that stands for each byte 0..255: its own if printable, else the next one from U+0100."""
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in PRINTABLE else next(others)) for byte in range(256)]


def byte_tokenizer(context: int) -> dict[str, dict[str, Any]]:
    """The files `tokenizer.json` and `tokenizer_config.json`, as plain values.

    A byte-pair model without pairs over the byte-level alphabet: any text becomes the bytes of its UTF-8
    encoding and comes back as it was. No text is split, cleaned or normalised, no symbol added.
    """
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": None,
            "pre_tokenizer": byte_level,
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": {letter: byte for byte, letter in enumerate(byte_letters())},
                "merges": [],
            },
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": context,
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": False,
        },
    }
