"""Trainings whose likelihood knows the noise of CT: measured before, kept in the checkpoint, drawn from afterwards."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from medlangevin.config import Config, parse_config
from medlangevin.likelihoods import Gaussian
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.training.train import train

EVERY = {"scale_per_ear": True, "scale_map": True, "correlated": True}


def with_likelihood(config: Config, **likelihood: Any) -> Config:
    raw = config.model_dump(mode="json")
    raw["model"]["likelihood"] = likelihood
    return parse_config(raw, source="test")


@pytest.mark.claim("ct-noise")
@pytest.mark.parametrize("kind", ["vae", "qsl_vae", "lae"])
def test_a_training_with_the_noise_of_ct_is_kept_and_drawn_from(
    kind: str, make_config: Callable[..., Config], logged: Callable[[], str]
) -> None:
    config = with_likelihood(make_config(kind=kind, epochs=2), **EVERY)
    run_dir = train(config)
    assert "noise from the upper half of frequencies: half power at " in logged()  # the balls hold no patch of bone
    rows = read_metrics(run_dir / "metrics.csv")
    assert len(rows) == 2
    assert all(np.isfinite(float(row[name])) for row in rows for name in ("loss", "likelihood_spread"))
    run = load_run(run_dir, checkpoint="last")
    likelihood = run.model.likelihood
    assert isinstance(likelihood, Gaussian)
    assert likelihood.spectrum is not None
    assert likelihood.scale_map is not None
    assert max(likelihood.spectrum.cutoffs) < 3
    assert likelihood.scale_map.log_scales.any()
    still, noisy = (run.sample(1, noise=noise) for noise in (False, True))
    assert (noisy - still).std() > 10
    x = run.image(noisy[0])
    assert torch.isfinite(run.model.elbo(x)).all()


@pytest.mark.claim("resume")
def test_a_resumed_training_has_the_same_noise(make_config: Callable[..., Config]) -> None:
    whole = train(with_likelihood(make_config("whole", epochs=3, weight_averaging=0.5), **EVERY))
    train(with_likelihood(make_config("resumed", epochs=1, weight_averaging=0.5), **EVERY))
    resumed = train(with_likelihood(make_config("resumed", epochs=3, weight_averaging=0.5), **EVERY), resume=True)
    one, other = (load_run(path, checkpoint="last").model.state_dict() for path in (whole, resumed))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("kind", ["bernoulli", "continuous_bernoulli", "discretized_logistic"])
@pytest.mark.parametrize("name", EVERY)
def test_other_likelihoods_know_no_noise_of_ct(kind: str, name: str, make_config: Callable[..., Config]) -> None:
    with pytest.raises(Exception, match=rf"'model\.likelihood\.{name}' has no effect here; .*gaussian"):
        with_likelihood(make_config(), kind=kind, **{name: True})


def test_the_switches_are_off_unless_they_are_asked_for(make_config: Callable[..., Config]) -> None:
    section = make_config().model.likelihood
    assert not any(getattr(section, name) for name in EVERY)
