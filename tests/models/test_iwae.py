"""Sampling-importance-resampling, the bound's growth with K, and memory that does not grow with it."""

import math

import torch


def test_resampling_many_draws_gives_the_exact_posterior(linear_gaussian):
    """q has the right mean but 1.1 times the marginal scales and no correlations; resampling mends both."""
    model = linear_gaussian.model("iwae", num_samples=100)
    weight, scale = linear_gaussian.decoder.weight.detach(), linear_gaussian.likelihood.scale.detach()
    exact = torch.linalg.inv(torch.eye(4, dtype=torch.float64) + weight.T @ weight / scale**2)
    draws = model.posterior_sample(linear_gaussian.x, 8000, torch.Generator().manual_seed(0))[:, 0]
    root = torch.linalg.cholesky(exact)
    standardised = torch.linalg.solve_triangular(
        root, (draws - model.encoder(linear_gaussian.x)[0]).detach().T, upper=False
    )
    # Entries of the covariance of standard normals have standard errors of 0.011 and 0.016 (diagonal): 0.06 is 4.
    torch.testing.assert_close(standardised.cov(), torch.eye(4, dtype=torch.float64), rtol=0, atol=0.06)
    before = model.encoder.scale.detach() ** 2 / exact.diagonal()
    assert (before > 1.15).all()


def test_the_bound_rises_with_the_number_of_samples(linear_gaussian):
    x = linear_gaussian.x.expand(4000, -1)
    bounds = [
        linear_gaussian.model("iwae", num_samples=k).elbo(x, torch.Generator().manual_seed(0)) for k in (1, 5, 50)
    ]
    means = [bound.mean() for bound in bounds]
    errors = [bound.std() / math.sqrt(len(x)) for bound in bounds]
    assert means[1] - means[0] > 4 * (errors[0] + errors[1])
    assert means[2] - means[1] > 4 * (errors[1] + errors[2])
    assert linear_gaussian.log_evidence > means[2]


def test_draws_are_weighed_in_bounded_memory(linear_gaussian, monkeypatch):
    model = linear_gaussian.model("iwae", num_samples=50)
    x = linear_gaussian.x.expand(7, -1)
    sizes = []
    model.decoder.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    monkeypatch.setattr("medlangevin.models.base._ELEMENTS_PER_CHUNK", 30 * x[0].numel())
    for call in (model.elbo, model.log_weights, model.training_loss):
        call(x, torch.Generator().manual_seed(0))
        assert max(sizes) <= 30, call
    model.reconstruct(x)
    assert max(sizes) <= 30
    model.posterior_sample(x, 3, torch.Generator().manual_seed(0))
    assert max(sizes) <= 30


def test_the_parts_add_up(linear_gaussian):
    parts = linear_gaussian.model("iwae")(linear_gaussian.x, torch.Generator().manual_seed(0)).parts
    torch.testing.assert_close(parts["log_likelihood"] - parts["kl"], parts["elbo"])
    assert 1 <= parts["effective_samples"] <= 5
