"""Checkpoints to and from Hugging Face transformers, as `OlmoeForCausalLM`, without importing it.

>>> from moebook.model.exchange import from_olmoe, to_olmoe
>>> to_olmoe(model, "out/hf")           # AutoModelForCausalLM and AutoTokenizer load the folder
>>> model = from_olmoe("out/hf")        # the same bits
"""

from moebook.model.exchange.checkpoint import from_olmoe, to_olmoe
from moebook.model.exchange.configuration import from_olmoe_config, to_olmoe_config
from moebook.model.exchange.weights import from_olmoe_weights, to_olmoe_weights

__all__ = [
    "from_olmoe", "from_olmoe_config", "from_olmoe_weights",
    "to_olmoe", "to_olmoe_config", "to_olmoe_weights",
]  # fmt: skip
