"""Networks in bfloat16 (autocast): latents, integrators and densities stay in full precision."""

from typing import Any

import pytest
import torch
from torch import Tensor

from medlangevin.config import ModelConfig
from medlangevin.models import build

SHAPE = (1, 6, 5)
MODELS: dict[str, dict[str, Any]] = {
    "vae": {"kind": "vae"},
    "vae_flow": {"kind": "vae_flow"},
    "iwae": {"kind": "iwae"},
    "hvae": {"kind": "hvae", "flow": {"tempering": "free", "steps": 3}},
    "qsl_vae": {"kind": "qsl_vae", "flow": {"bound": "flow", "steps": 3}},
    "annealed": {"kind": "qsl_vae", "flow": {"steps": 3}},
    "hoffman": {"kind": "hoffman"},
    "lae": {"kind": "lae", "langevin": {"posterior_steps": 4}},
}


class Recorder(torch.nn.Module):
    """A decoder that remembers the types of what it was given."""

    def __init__(self, decoder: torch.nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        self.seen: set[torch.dtype] = set()

    def forward(self, z: Tensor) -> Tensor:
        self.seen.add(z.dtype)
        return self.decoder(z)


@pytest.mark.claim("bfloat16")
@pytest.mark.parametrize("name", MODELS)
def test_latents_stay_in_float32(name):
    torch.manual_seed(0)
    model = build(
        ModelConfig.model_validate({"latent_dim": 3, "network": {"channels": [4], "hidden": 8}, **MODELS[name]}), SHAPE
    )
    model.decoder = Recorder(model.decoder)
    x = torch.rand(4, *SHAPE)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(x, torch.Generator().manual_seed(1)).loss
        samples = model.posterior_sample(x, 2, torch.Generator().manual_seed(1))
        weights = model.log_weights(x, torch.Generator().manual_seed(1))
    loss.backward()
    assert model.decoder.seen == {torch.float32}
    assert samples.dtype == torch.float32
    assert loss.dtype == weights.dtype == torch.float64
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
