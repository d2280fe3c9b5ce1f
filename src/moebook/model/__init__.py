"""The decoder in torch: attention, router, experts."""

from moebook.model.decoder import Decoder, Output
from moebook.model.experts import Experts, experts_by_loop
from moebook.model.loss import next_token_loss
from moebook.model.router import Routing, route

__all__ = ["Decoder", "Experts", "Output", "Routing", "experts_by_loop", "next_token_loss", "route"]
