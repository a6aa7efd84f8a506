"""Langevin steps that diverged are halved, in every model that keeps them in its state."""

import pytest
import torch

from medlangevin.config import parse_config
from medlangevin.models import build

FLOW = {"steps": 3, "step_size": 0.2, "max_step_size": 0.5}


@pytest.mark.claim("skipped-steps")
@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"kind": "qsl_vae", "flow": FLOW}, "step_size"),
        ({"kind": "qsl_vae", "flow": {**FLOW, "bound": "flow", "learn_step_size": False}}, "step_size"),
        ({"kind": "hvae", "flow": FLOW}, "step_size"),
        ({"kind": "lae", "langevin": {"update": "mala", "step_size": 0.2}}, "latent_step_size"),
    ],
)
def test_steps_are_halved(model: dict, name: str) -> None:
    raw = {"name": "x", "model": {"latent_dim": 2, "network": {"kind": "mlp", "widths": [4]}, **model}}
    built = build(parse_config(raw, source="test").model, (1, 4, 4))
    for expected in (0.2, 0.1, 0.05):
        torch.testing.assert_close(getattr(built, name), torch.full_like(getattr(built, name), expected))
        assert built.shorten_steps()


@pytest.mark.parametrize("kind", ["vae", "vae_flow", "iwae", "hoffman", "lae", "ae"])
def test_other_models_have_none(kind: str) -> None:
    raw = {"name": "x", "model": {"kind": kind, "latent_dim": 2, "network": {"kind": "mlp", "widths": [4]}}}
    assert not build(parse_config(raw, source="test").model, (1, 4, 4)).shorten_steps()
