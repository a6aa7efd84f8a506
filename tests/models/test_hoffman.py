"""The chain: its energy, its stationary density, and what of it is reported."""

import pytest
import torch


def test_one_step_follows_the_energy_of_one_image_in_nats(linear_gaussian):
    model = linear_gaussian.model("hoffman", num_steps=1, step_size=0.01, metropolis=False)
    x = linear_gaussian.x.expand(3, -1)
    start = model._draw_initial(x, torch.Generator().manual_seed(0)).z.detach()
    end = model.posterior_sample(x, 1, torch.Generator().manual_seed(0))[0]
    generator = torch.Generator().manual_seed(0)
    torch.randn(3, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    weight, bias, scale = model.decoder.weight, model.decoder.bias, model.likelihood.scale
    gradient = start - (x - bias - start @ weight.T) @ weight / scale**2
    torch.testing.assert_close(end, (start - 0.01 * gradient + 0.02**0.5 * noise).detach())


def test_a_long_chain_forgets_a_bad_encoder(linear_gaussian):
    model = linear_gaussian.model("hoffman", num_steps=150, step_size=0.05)
    weight, scale = linear_gaussian.decoder.weight.detach(), linear_gaussian.likelihood.scale.detach()
    exact = torch.linalg.inv(torch.eye(4, dtype=torch.float64) + weight.T @ weight / scale**2)
    mean = model.encoder(linear_gaussian.x)[0].detach()
    model.encoder.bias.data += 1
    model.encoder.scale.data *= 0.3
    draws = model.posterior_sample(linear_gaussian.x, 4000, torch.Generator().manual_seed(0))[:, 0]
    # 4 standard errors of the mean, and of a standard deviation.
    assert ((draws.mean(0) - mean) / exact.diagonal().sqrt()).abs().max() < 4 / 4000**0.5
    assert (draws.std(0) / exact.diagonal().sqrt() - 1).abs().max() < 4 / 8000**0.5


@pytest.mark.parametrize("metropolis", [True, False])
def test_parts(linear_gaussian, metropolis):
    model = linear_gaussian.model("hoffman", metropolis=metropolis)
    parts = model(linear_gaussian.x.expand(50, -1), torch.Generator().manual_seed(0)).parts
    assert set(parts) == {"elbo", "log_likelihood", "kl", "chain_log_likelihood", "acceptance", "likelihood_scale"}
    torch.testing.assert_close(parts["log_likelihood"] - parts["kl"], parts["elbo"])
    assert (0 < parts["acceptance"] < 1) if metropolis else parts["acceptance"] == 1
