"""A VAE first, then the flow: what each epoch trains, and that stopping, resuming and loading know of it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from medlangevin.config import Config, parse_config
from medlangevin.models import LatentVariableModel, build
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.system.errors import MedlangevinError
from medlangevin.training.train import train
from medlangevin.training.trainer import Trainer

KINDS: dict[str, dict[str, Any]] = {"qsl_vae": {"step_unit": "posterior"}, "hvae": {"step_size": 0.01}}


def built(kind: str, **flow: Any) -> LatentVariableModel:
    section = {
        "kind": kind,
        "latent_dim": 3,
        "network": {"channels": [2], "hidden": 4},
        **({"flow": flow} if flow else {}),
    }
    torch.manual_seed(0)
    return build(parse_config({"name": "a", "model": section}, source="test").model, (1, 8, 6, 5))


@pytest.mark.claim("vae-first")
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_epochs_train_a_vae_and_the_others_the_flow(kind: str) -> None:
    x = torch.rand(4, 1, 8, 6, 5, generator=torch.Generator().manual_seed(1))
    model = built(kind, steps=2, vae_epochs=2, **KINDS[kind])
    plain, flow = built("vae"), built(kind, steps=2, **KINDS[kind])
    assert model.preparatory_epochs == 2

    def figures(model: LatentVariableModel) -> list[torch.Tensor]:
        noise = torch.Generator().manual_seed(2)
        return [model(x, noise).loss, model.elbo(x, noise), model.log_weights(x, noise)]

    torch.testing.assert_close(figures(model), figures(flow))  # told of no epoch, it is what it becomes
    assert [model.start_epoch(epoch) for epoch in (1, 2)] == [True, False]
    torch.testing.assert_close(figures(model), figures(plain))
    model(x).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    assert [model.start_epoch(epoch) for epoch in (3, 4)] == [True, False]
    torch.testing.assert_close(figures(model), figures(flow))


@pytest.fixture
def phased(make_config: Callable[..., Config]) -> Callable[..., Config]:
    """``phased(name, vae_epochs=..., **training)``: a QSL-VAE in two phases, 4 epochs of 3 steps."""

    def make(name: str = "run", *, vae_epochs: int = 2, **training: Any) -> Config:
        raw = make_config(name, kind="qsl_vae", **training).model_dump(mode="json")
        raw["model"]["flow"] |= {
            "vae_epochs": vae_epochs,
            "step_unit": "posterior",
            "step_size": 0.45,
            "max_step_size": 1,
        }
        return parse_config(raw, source="test")

    return make


def test_the_log_shows_the_phases_and_a_loaded_model_knows_its_own(phased: Callable[..., Config]) -> None:
    config = phased()
    rows = read_metrics(train(config) / "metrics.csv")
    assert ["step_size" in row for row in rows] == [False, False, True, True]
    last = load_run(config.run_dir, checkpoint="last")
    x = torch.rand(2, 1, 8, 6, 5)
    flow = last.model.elbo(x, torch.Generator().manual_seed(0))
    last.model.start_epoch(1)
    assert not torch.equal(last.model.elbo(x, torch.Generator().manual_seed(0)), flow)
    early = phased("early", vae_epochs=3, epochs=4)
    train(early)
    assert load_run(early.run_dir, checkpoint="last").model.start_epoch(3)  # it was past it


def test_patience_counts_the_epochs_of_the_flow_alone(phased: Callable[..., Config]) -> None:
    # At this rate nothing gets better, so that without the phase training would stop after two epochs.
    hopeless = {"epochs": 9, "patience": 1, "learning_rate": 1e-12}
    assert len(read_metrics(train(phased("without", vae_epochs=0, **hopeless)) / "metrics.csv")) < 5
    assert len(read_metrics(train(phased("with", vae_epochs=6, **hopeless)) / "metrics.csv")) > 6


def test_the_best_epoch_is_one_of_the_flow(phased: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where every epoch of the phase before it had a larger bound."""
    bounds = iter([5.0, 4.0, 2.0, 1.0])
    monkeypatch.setattr(Trainer, "validate", lambda self, source: torch.full((2,), next(bounds)))
    assert load_run(train(phased())).state.early_stopping == (2.0, 3)


def test_a_flow_without_epochs_is_refused(phased: Callable[..., Config]) -> None:
    with pytest.raises(MedlangevinError, match=r"vae_epochs is 4, so none of 4 epochs trains the flow"):
        phased(vae_epochs=4)


@pytest.mark.claim("resume")
def test_a_training_that_went_on_after_the_switch_is_that_of_one_go(phased: Callable[..., Config]) -> None:
    whole, parts = train(phased("whole", epochs=5)), phased("parts", epochs=3)
    train(parts)
    train(phased("parts", epochs=5), resume=True)
    one, other = (load_file(run / "checkpoints/last/model.safetensors") for run in (whole, parts.run_dir))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
