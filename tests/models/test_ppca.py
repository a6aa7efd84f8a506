"""Probabilistic PCA against densities, posteriors and estimates that are known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from medlangevin.config import ModelConfig
from medlangevin.models import PPCA, LatentVariableModel, build
from medlangevin.models.principal_axes import (
    assign_folds,
    held_out_variances,
    most_axes,
    principal_axes,
    smooth,
)
from medlangevin.system.errors import MedlangevinError

SHAPE = (1, 3, 2)  # D = 6
AXES = 2


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(n: int, size: int, seed: int = 0) -> Tensor:
    """Points that are spread unevenly, (n, size) float64, about a mean that is not 0."""
    spread = torch.linspace(2, 0.3, size, dtype=torch.float64)
    return 0.4 + 0.1 * torch.randn(n, size, generator=generator(seed), dtype=torch.float64) * spread


def fitted(
    n: int = 40, shape: tuple[int, ...] = SHAPE, axes: int = AXES, folds: int | None = None
) -> tuple[PPCA, Tensor]:
    """A float64 model of n images, and they."""
    x = draw(n, math.prod(shape)).unflatten(1, shape)
    model = PPCA(image_shape=shape, latent_dim=axes, folds=folds).double()
    model.fit(x, range(n))
    return model, x


def dense(model: PPCA) -> MultivariateNormal:
    """N(mu, W W^T + s^2 I) with its whole covariance."""
    weight, mean = model.decoder.weight, model.decoder.bias
    return MultivariateNormal(mean, weight @ weight.T + model.likelihood.scale**2 * torch.eye(len(mean)).double())


@pytest.mark.claim("ppca-density")
@pytest.mark.parametrize("folds", [None, 5])
def test_log_p_is_the_dense_gaussian_s(folds):
    model, x = fitted(folds=folds)
    expected = dense(model).log_prob(x.flatten(1))
    for found in (
        model.log_prob(x),
        model.elbo(x),
        model.log_weights(x, generator()),
        model.log_likelihood(x, 3, generator()),
        -model(x[:1]).loss.expand(1),
    ):
        torch.testing.assert_close(found, expected[: len(found)])


@pytest.mark.claim("ppca-density")
def test_log_p_is_exact_for_any_weights_not_only_for_orthogonal_ones():
    model, x = fitted()
    with torch.no_grad():
        model.decoder.weight.copy_(torch.randn(model.decoder.weight.shape, generator=generator(1)).double())
    torch.testing.assert_close(model.log_prob(x), dense(model).log_prob(x.flatten(1)))
    mean, covariance = bayes(model, x)
    torch.testing.assert_close(model.posterior(x).mean, mean)
    torch.testing.assert_close(model.posterior(x).covariance, covariance)


@pytest.mark.claim("ppca-estimate")
@pytest.mark.parametrize(("n", "size"), [(40, 6), (7, 30)])
def test_maximum_likelihood_is_that_of_scikit_learn(n, size):
    """Its variances are sums over n - 1, where those of the largest likelihood are sums over n."""
    decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is of the extra dev")
    model, x = fitted(n, (1, size, 1))
    theirs = decomposition.PCA(AXES, svd_solver="full").fit(x.flatten(1).numpy())
    unbiased = n / (n - 1)
    variances = model.decoder.weight.square().sum(0) + model.likelihood.scale**2
    np.testing.assert_allclose(variances.detach() * unbiased, theirs.explained_variance_)
    # Theirs is the mean over the other directions of the n images; ours is over those that they lack as well.
    noise = theirs.noise_variance_ * (min(n, size) - AXES) / (size - AXES)
    assert model.likelihood.scale.item() ** 2 * unbiased == pytest.approx(noise)
    theirs.explained_variance_ = theirs.explained_variance_ / unbiased
    theirs.noise_variance_ = noise / unbiased
    other = draw(5, size, seed=1)
    np.testing.assert_allclose(
        model.log_likelihood(other.unflatten(1, (1, size, 1)), 1), theirs.score_samples(other.numpy()), rtol=1e-9
    )


@pytest.mark.claim("ppca-estimate")
def test_the_gradient_of_the_likelihood_is_zero_at_the_estimate():
    model, x = fitted()
    model(x).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() < 1e-9, name
    model.likelihood.log_scale.data += 0.1
    (slope,) = torch.autograd.grad(model(x).loss, [model.likelihood.log_scale])
    assert slope.abs() > 0.1


def bayes(model: PPCA, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of z given x, by conditioning the joint Gaussian of both."""
    weight, joint = model.decoder.weight, dense(model).covariance_matrix
    gain = weight.T @ torch.linalg.inv(joint)
    return (x.flatten(1) - model.decoder.bias) @ gain.T, torch.eye(model.latent_dim).double() - gain @ weight


@pytest.mark.claim("ppca-posterior")
@pytest.mark.parametrize("folds", [None, 5])
def test_the_posterior_is_bayes_s_and_diagonal(folds):
    model, x = fitted(folds=folds)
    mean, covariance = bayes(model, x)
    found = model.posterior(x)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.covariance, covariance)
    variances = model.decoder.weight.square().sum(0) + model.likelihood.scale**2
    torch.testing.assert_close(found.covariance, torch.diag(model.likelihood.scale**2 / variances))
    draws = model.posterior_sample(x[:3], 20000, generator())
    assert (draws.mean(0) - mean[:3]).abs().max() < 4 * (covariance.diagonal() / 20000).sqrt().max()
    for image in range(3):
        # 4 standard errors of a variance.
        error = (draws[:, image].T.cov() - covariance).abs().max()
        assert error < 4 * (2 / 20000) ** 0.5 * covariance.diagonal().max()


@pytest.mark.claim("ppca-density")
def test_importance_sampling_agrees():
    """The sampler of all other models, with weights of draws from a proposal that is too wide."""
    model, x = fitted()
    mean, covariance = bayes(model, x)
    scale = 1.2 * covariance.diagonal().sqrt()

    def log_weights(images: Tensor, noise: torch.Generator) -> Tensor:
        count = len(images) // len(x)
        centre = mean.repeat(count, 1)
        proposal = torch.distributions.Normal(centre, scale)
        z = centre + scale * torch.randn(centre.shape, generator=noise, dtype=torch.float64)
        return -model.potential(images)(z) - proposal.log_prob(z).sum(1)

    model.log_weights = log_weights  # type: ignore[method-assign,assignment]
    estimate = LatentVariableModel.log_likelihood(model, x, 4000, generator())
    exact = model.log_likelihood(x, 1)
    # The weights' relative variance is below 0.25, so this is about 4 standard errors.
    assert (estimate - exact).abs().max() < 4 * (0.25 / 4000) ** 0.5


@pytest.mark.claim("ppca-density")
def test_draws_have_the_covariance_of_the_model():
    model, _ = fitted()
    z = torch.randn(40000, AXES, generator=generator(1), dtype=torch.float64)
    x = model.likelihood.sample(model.decoder(z), generator(2)).flatten(1).detach()
    expected = dense(model).covariance_matrix
    # The standard error of a covariance of Gaussians is sqrt((c_ii c_jj + c_ij^2) / n).
    variances = expected.diagonal()
    error = ((torch.outer(variances, variances) + expected.square()) / len(x)).sqrt()
    assert ((x.T.cov() - expected).abs() < 4 * error).all()
    assert ((x.mean(0) - model.decoder.bias).abs() < 4 * (variances / len(x)).sqrt()).all()


@pytest.mark.claim("ppca-estimate")
@pytest.mark.parametrize("folds", [None, 3])
def test_few_images_of_many_elements_give_what_many_of_few_do(folds):
    """The same points in a larger space, which the other route takes: n x n there, D x D here."""
    x = draw(12, 5)
    basis = torch.linalg.qr(torch.randn(20, 5, generator=generator(3), dtype=torch.float64)).Q
    parts = None if folds is None else assign_folds(range(12), folds)
    small, large = principal_axes(x, 3, parts), principal_axes(x @ basis.T, 3, parts)
    # The noise is spread over the directions outside of the axes: 2 of 5, and 17 of 20.
    torch.testing.assert_close(small.noise * 2, large.noise * 17)
    assert (small.variances > small.noise).all()
    torch.testing.assert_close(small.variances, large.variances)
    torch.testing.assert_close(small.mean @ basis.T, large.mean)
    aligned = (large.axes * (basis @ small.axes)).sum(0)
    torch.testing.assert_close(aligned.abs(), torch.ones(3).double())


@pytest.mark.claim("ppca-cross-validation")
@pytest.mark.parametrize(("n", "size"), [(30, 4), (8, 12)])
def test_cross_validated_variances_by_brute_force(n, size):
    x = draw(n, size).numpy()
    folds = np.arange(n) % 3
    along, outside = np.zeros(2), 0.0
    for fold in range(3):
        others = x[folds != fold]
        mean = others.mean(0)
        axes = np.linalg.svd(others - mean)[2][:2]
        for held in x[folds == fold] - mean:
            along += (axes @ held) ** 2 / n
            outside += ((held - axes.T @ (axes @ held)) ** 2).sum() / n
    found = principal_axes(torch.from_numpy(x), 2, torch.from_numpy(folds))
    np.testing.assert_allclose(found.noise, outside / (size - 2))
    expected = np.maximum(along, found.noise.item())
    np.testing.assert_allclose(found.variances, [expected[0], min(expected)])
    centred = torch.from_numpy(x - x.mean(0))
    raw, rest = held_out_variances(centred, 2, torch.from_numpy(folds))
    np.testing.assert_allclose(raw, along)
    np.testing.assert_allclose(rest, outside)


def test_smoothed_variances_fall_and_keep_a_geometric_sequence():
    falling = 3 * 0.7 ** torch.arange(9).double()
    torch.testing.assert_close(smooth(falling), falling)
    noisy = falling * torch.exp(torch.randn(9, generator=generator(), dtype=torch.float64))
    found = smooth(noisy)
    assert (found.diff() <= 0).all()
    torch.testing.assert_close(found[0], noisy[0])  # the ends have no neighbours on one side
    torch.testing.assert_close(
        smooth(noisy.sort(descending=True).values)[4], noisy.sort(descending=True).values[2:7].log().mean().exp()
    )
    torch.testing.assert_close(smooth(torch.tensor([2.0])), torch.tensor([2.0]))


@pytest.mark.claim("ppca-cross-validation")
def test_held_out_variances_explain_new_images_better_than_the_training_s_own():
    """Far fewer images than elements: the case of ears."""
    shape = (1, 400, 1)
    weight = torch.randn(400, 3, generator=generator(5), dtype=torch.float64)

    def images(n: int, seed: int) -> Tensor:
        noise = generator(seed)
        z, e = (torch.randn(n, k, generator=noise, dtype=torch.float64) for k in (3, 400))
        return (z @ weight.T + 3 * e).unflatten(1, shape)

    train, test = images(20, 1), images(50, 2)
    found, ratios = {}, {}
    for folds in (None, 5):
        model = PPCA(image_shape=shape, latent_dim=8, folds=folds).double()
        model.fit(train, range(20))
        found[folds] = model.log_likelihood(test, 1).mean().item()
        residual = test.flatten(1) - model.decoder.bias
        axes = torch.linalg.qr(model.decoder.weight).Q
        outside = (residual.square().sum(1) - (residual @ axes).square().sum(1)).mean() / (400 - 8)
        ratios[folds] = (model.likelihood.scale**2 / outside).item()
    assert found[5] > found[None] + 20
    assert ratios[5] == pytest.approx(1, rel=0.15)
    assert ratios[None] < 0.5


@pytest.mark.claim("ppca-cross-validation")
def test_both_ears_of_a_person_are_held_out_together():
    subjects = ["a", "b", "a", "c", "d", "b", "e", "e", "f"]
    folds = assign_folds(subjects, 4)
    by_person = {
        subject: {int(f) for f, s in zip(folds, subjects, strict=True) if s == subject} for subject in subjects
    }
    assert all(len(found) == 1 for found in by_person.values())
    assert sorted(set(folds.tolist())) == [0, 1, 2, 3]
    assert sorted(set(assign_folds(subjects, 100).tolist())) == list(range(6))
    # A second ear that is the first one's copy tells nothing: the noise stays that of the people.
    x = draw(10, 6).unflatten(1, SHAPE)
    twice, single = (PPCA(image_shape=SHAPE, latent_dim=2, folds=3).double() for _ in range(2))
    twice.fit(x.repeat(2, 1, 1, 1), [*range(10), *range(10)])
    single.fit(x, range(10))
    torch.testing.assert_close(twice.log_prob(x), single.log_prob(x))
    twice.fit(x.repeat(2, 1, 1, 1), range(20))
    assert (twice.log_prob(x) - single.log_prob(x)).mean() > 0.1


@pytest.mark.parametrize(
    ("axes", "folds", "groups", "message"),
    [
        (5, None, range(6), "the most axes that 6 training images give is 4; choose --set model.latent_dim=4"),
        (6, None, range(60), "the most axes that 60 training images give is 5"),
        (4, 3, range(6), "the most axes that 6 training images less those held out give is 3"),
        (4, 3, [0, 0, 0, 1, 2, 3], "give is 1"),
        (1, 5, [0, 0, 0], "are all of one person"),
        (1, None, range(2), "give is 0; more images are needed"),
    ],
)
def test_too_few_images_are_one_line(axes, folds, groups, message):
    model = PPCA(image_shape=SHAPE, latent_dim=axes, folds=folds)
    with pytest.raises(MedlangevinError, match=message) as error:
        model.require_enough(groups)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("n", "size", "folds"), [(9, 5, None), (5, 9, None), (9, 5, 3), (7, 12, 3)])
def test_the_most_axes_can_be_fitted(n, size, folds):
    parts = None if folds is None else assign_folds(range(n), folds)
    found = principal_axes(draw(n, size), most_axes(n, size, parts), parts)
    assert found.noise > 0
    torch.testing.assert_close(found.axes.T @ found.axes, torch.eye(len(found.variances)).double())


@pytest.mark.parametrize(
    ("images", "folds"),
    [
        (torch.full((6, 6), 0.3), None),
        (torch.full((6, 6), 0.3), 2),
        (torch.rand(2, 6, generator=generator()).repeat(3, 1), None),
    ],
)
def test_images_that_leave_no_noise_are_one_line(images, folds):
    model = PPCA(image_shape=SHAPE, latent_dim=2, folds=folds)
    with pytest.raises(MedlangevinError, match="leave nothing outside of so many axes") as error:
        model.fit(images.unflatten(1, SHAPE), range(6))
    assert "\n" not in str(error.value)


def test_single_precision_is_close_to_double(monkeypatch):
    """And so are blocks of any size."""
    exact, x = fitted(20, (1, 8, 6), 4, 5)
    for elements in (2**24, 50, 1):
        monkeypatch.setattr("medlangevin.models.principal_axes._BLOCK", elements)
        model = PPCA(image_shape=(1, 8, 6), latent_dim=4)
        model.fit(x.float(), range(20))
        assert model.log_prob(x.float()).dtype == torch.float64
        torch.testing.assert_close(model.log_prob(x.float()), exact.log_prob(x), rtol=1e-5, atol=1e-4)


def test_a_configuration_builds_it():
    def model(**settings) -> PPCA:
        found = build(ModelConfig.model_validate({"kind": "ppca", "latent_dim": 3, **settings}), (2, 4, 5))
        assert isinstance(found, PPCA)
        return found

    assert model().folds == 5
    assert model(ppca={"folds": 7}).folds == 7
    assert model(ppca={"estimate": "maximum_likelihood"}).folds is None
    assert model().decode(torch.zeros(2, 3)).shape == (2, 2, 4, 5)
    assert {name: tuple(value.shape) for name, value in model().state_dict().items()} == {
        "decoder.weight": (40, 3),
        "decoder.bias": (40,),
        "likelihood.log_scale": (),
    }
