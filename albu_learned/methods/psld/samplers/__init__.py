"""How latents are drawn that agree with what is known of an image: one algorithm a file."""

from collections.abc import Callable

from torch import Tensor

from albu_learned.methods.psld.samplers.blending import blending as blending
from albu_learned.methods.psld.samplers.decoder_only import decoder_only as decoder_only
from albu_learned.methods.psld.samplers.psld import psld as psld

SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "decoder-only": decoder_only,
    "psld": psld,
    "blending": blending,
}
