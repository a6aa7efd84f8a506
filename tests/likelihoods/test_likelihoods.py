"""Log-likelihoods against torch.distributions and 80-digit arithmetic, in precision and in scale."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from medlangevin.likelihoods import Bernoulli, ContinuousBernoulli, DiscretizedLogistic, Gaussian, Likelihood
from medlangevin.models import LatentVariableModel, Loss


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.claim("gaussian-bernoulli")
@pytest.mark.parametrize("shape", [(3, 5), (3, 1, 4, 5), (3, 2, 4, 3, 5)])
def test_gaussian_is_the_sum_of_normal_log_densities(shape):
    x, mean = noise(*shape, seed=1), noise(*shape, seed=2)
    likelihood = Gaussian(0.3)
    expected = torch.distributions.Normal(mean.double(), 0.3).log_prob(x.double()).flatten(1).sum(1)
    assert likelihood.log_prob(x, mean).shape == (3,)
    torch.testing.assert_close(likelihood.log_prob(x, mean).detach(), expected, rtol=1e-6, atol=0)
    assert torch.equal(likelihood.mean(mean), mean)


@pytest.mark.claim("gaussian-bernoulli")
def test_a_volume_s_sum_is_accurate_to_a_hundredth_of_a_nat():
    x, mean = noise(2, 1, 60, 50, 50, seed=1), noise(2, 1, 60, 50, 50, seed=2)
    likelihood = Gaussian(0.1)
    exact = likelihood.log_prob(x.double(), mean.double())
    assert exact.abs().min() > 1e7
    # Each of 150,000 elements carries a relative rounding error of about 1e-7, with random sign: 1e-7 * 1e7 / 400.
    assert (likelihood.log_prob(x, mean) - exact).abs().max() < 0.2
    assert (
        likelihood.log_prob(0.1 * x, 0.1 * mean) - likelihood.log_prob(0.1 * x.double(), 0.1 * mean.double())
    ).abs().max() < 0.01


def test_the_learned_scale_has_its_maximum_at_the_root_mean_square_error():
    x, mean = noise(4, 100, seed=1), torch.zeros(4, 100)
    likelihood = Gaussian(float(x.square().mean().sqrt()))
    (gradient,) = torch.autograd.grad(likelihood.log_prob(x, mean).sum(), likelihood.log_scale)
    assert gradient.abs() < 1e-3
    likelihood.log_scale.data += 0.1
    (gradient,) = torch.autograd.grad(likelihood.log_prob(x, mean).sum(), likelihood.log_scale)
    assert gradient == pytest.approx(-400 * (1 - math.exp(-0.2)), rel=1e-4)


def test_bernoulli_is_the_sum_of_bernoulli_log_masses():
    x, logits = (noise(3, 1, 7, 5, seed=1) > 0).float(), 3 * noise(3, 1, 7, 5, seed=2)
    expected = torch.distributions.Bernoulli(logits=logits.double()).log_prob(x.double()).flatten(1).sum(1)
    torch.testing.assert_close(Bernoulli().log_prob(x, logits), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(Bernoulli().mean(logits), torch.sigmoid(logits))


def test_bernoulli_samples_are_ones_with_the_given_probability():
    """20,000 draws of each logit at 5 standard errors: a false alarm once in 3e5 seeds."""
    logits = torch.tensor([-4.0, -1.0, 0.3, 2.5])
    draws = Bernoulli().sample(logits.expand(20_000, 4), torch.Generator().manual_seed(1))
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    probability = torch.sigmoid(logits)
    error = (probability * (1 - probability) / 20_000).sqrt()
    assert ((draws.mean(0) - probability).abs() < 5 * error).all()
    repeated = Bernoulli().sample(logits.expand(20_000, 4), torch.Generator().manual_seed(1))
    assert torch.equal(draws, repeated)


@pytest.mark.claim("gaussian-bernoulli")
def test_bernoulli_does_not_clamp_outliers():
    logits = torch.tensor([[-300.0]], requires_grad=True)
    value = Bernoulli().log_prob(torch.ones(1, 1), logits)
    assert value.item() == pytest.approx(-300)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert gradient.item() == pytest.approx(1)


@pytest.mark.parametrize("likelihood", [Gaussian(0.2), Bernoulli(), ContinuousBernoulli(), DiscretizedLogistic(0.3)])
def test_half_precision_networks_are_summed_in_full_precision(likelihood):
    x, output = (noise(2, 5000, seed=1) > 0).float(), noise(2, 5000, seed=2).to(torch.bfloat16)
    assert likelihood.log_prob(x, output).dtype == torch.float64
    torch.testing.assert_close(likelihood.log_prob(x, output), likelihood.log_prob(x, output.float()))


def exact_slope(function: Callable[[Decimal], Decimal], at: float) -> float:
    """The derivative by a central difference in 80 digits: exact in float64."""
    with localcontext() as context:
        context.prec = 80
        step = Decimal(max(abs(at), 1)) * Decimal("1e-25")
        return float((function(Decimal(at) + step) - function(Decimal(at) - step)) / (2 * step))


# --- discretised logistic ---


def logistic(scale: float, **options) -> DiscretizedLogistic:
    """In float64, with a scale good to float64 as well."""
    likelihood = DiscretizedLogistic(scale, **options).double()
    likelihood.log_scale.data.fill_(math.log(scale))
    return likelihood


def levels(count: int = 256, dtype: torch.dtype = torch.float64) -> Tensor:
    """All grey levels, one image of one element each: (count, 1)."""
    return (torch.arange(count, dtype=dtype) / (count - 1))[:, None]


def exact_log_mass(k: int, mean: Decimal, log_scale: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = 80
        scale = log_scale.exp()
        centre, half = Decimal(2 * k - 255) / 255, Decimal(1) / 255

        def cumulative(edge: Decimal) -> Decimal:
            return 1 / (1 + (-(edge - mean) / scale).exp())

        upper = Decimal(1) if k == 255 else cumulative(centre + half)
        return (upper - (Decimal(0) if k == 0 else cumulative(centre - half))).ln()


SCALES = (1e-3, 1e-2, 0.1, 0.5, 1.0, 3.0, 10.0)
MEANS = (-3.0, -1.5, -1.002, -1.0, -0.7, 1 / 255, 0.0, 0.1, 0.999, 1.0, 1.01, 2.2, 3.0)


@pytest.mark.claim("logistic-mass")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("count", [2, 5, 256])
def test_masses_of_all_levels_sum_to_one(scale, count):
    x, likelihood = levels(count), logistic(scale, num_levels=count)
    for mean in MEANS:
        total = likelihood.log_prob(x, torch.full_like(x, mean)).exp().sum()
        assert total.item() == pytest.approx(1, abs=1e-10)


@pytest.mark.claim("logistic-mass")
@pytest.mark.parametrize("scale", SCALES)
def test_masses_sum_to_one_in_float32(scale):
    """A level and a mean in float32 are 6e-8 apart from what they should be, which is 6e-8 / s in a and b each."""
    x, likelihood = levels(dtype=torch.float32), DiscretizedLogistic(scale)
    for mean in MEANS:
        total = likelihood.log_prob(x, torch.full_like(x, mean)).exp().sum()
        assert total.item() == pytest.approx(1, abs=1.2e-7 / scale + 1e-6)


# A mean 50 scales away from the level, on either side; both end bins and two inside.
OUTLIERS = [
    (k, side * away, scale) for k in (0, 1, 100, 255) for side in (-1, 1) for away in (2, 50) for scale in SCALES
]


@pytest.mark.claim("logistic-outliers")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_outliers_have_the_exact_log_mass_and_the_exact_gradient(dtype):
    for k, away, scale in OUTLIERS:
        likelihood = logistic(scale).to(dtype)
        x = torch.tensor([[k / 255]], dtype=dtype)
        mean = (2 * x - 1 + away * scale).requires_grad_()
        value = likelihood.log_prob(x, mean)
        slopes = torch.autograd.grad(value.sum(), (mean, likelihood.log_scale))
        at = Decimal(mean.item()), Decimal(likelihood.log_scale.item())
        exact = (
            float(exact_log_mass(k, *at)),
            exact_slope(partial(exact_log_mass, k, log_scale=at[1]), mean.item()),
            exact_slope(partial(exact_log_mass, k, at[0]), likelihood.log_scale.item()),
        )
        # In float32, a and b are off by 1e-7 / s (see above), and values and slopes by as much in relation.
        relative = 1e-9 if dtype == torch.float64 else 1e-5 + 2e-7 / scale
        assert value.item() == pytest.approx(exact[0], rel=relative, abs=relative)
        for slope, expected in zip(slopes, exact[1:], strict=True):
            assert slope.item() == pytest.approx(expected, rel=relative, abs=0)


@pytest.mark.claim("logistic-outliers")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", SCALES)
def test_no_outlier_has_a_zero_gradient(dtype, scale):
    """Means 5 to 10,000 scales outside their own bin, in all directions."""
    x = levels(dtype=dtype)[[0, 1, 128, 254, 255]]
    likelihood = logistic(scale).to(dtype)
    for away in (-1e4, -50, -5, 5, 50, 1e4):
        beyond = away * scale + math.copysign(2 / 255, away)
        is_fitted = ((x == 0) & (beyond < 0)) | ((x == 1) & (beyond > 0))  # in the open bin: no outlier
        mean = (2 * x - 1 + beyond).requires_grad_()
        per_image = likelihood.log_prob(x, mean)
        slopes = torch.autograd.grad(per_image.sum(), mean, retain_graph=True)[0]
        assert torch.isfinite(per_image).all()
        assert torch.isfinite(slopes).all()
        assert (slopes[~is_fitted] * -math.copysign(1, away) > 0.9 / scale).all()
        for value, fitted in zip(per_image, is_fitted, strict=True):
            (slope,) = torch.autograd.grad(value, likelihood.log_scale, retain_graph=True)
            assert torch.isfinite(slope)
            assert slope != 0 or fitted


@pytest.mark.claim("logistic-outliers")
def test_the_usual_clamp_has_no_gradient_where_this_has():
    """log max(sig(a) - sig(b), eps), as it is mostly written, leaves an outlier where it is."""
    x, mean = torch.full((1, 1), 100 / 255), torch.full((1, 1), 2 * 100 / 255 - 1 + 50 * 0.01, requires_grad=True)
    offset = 2 * x - 1 - mean
    mass = torch.sigmoid((offset + 1 / 255) / 0.01) - torch.sigmoid((offset - 1 / 255) / 0.01)
    clamped = mass.clamp(min=torch.finfo(torch.float32).eps).log()
    assert torch.autograd.grad(clamped.sum(), mean)[0].item() == 0
    ours = DiscretizedLogistic(0.01).log_prob(x, mean)
    assert torch.autograd.grad(ours.sum(), mean)[0].item() == pytest.approx(-100, rel=1e-4)
    assert ours.item() < clamped.item() - 30


def test_discretised_logistic_gradients_against_finite_differences():
    x = levels()[[0, 3, 130, 255]].T
    likelihood = logistic(0.2)

    def log_prob(mean: Tensor, log_scale: Tensor) -> Tensor:
        return torch.func.functional_call(_LogProb(likelihood), {"likelihood.log_scale": log_scale}, (x, mean))

    mean = torch.tensor([[-1.3, 0.4, 0.02, 1.1]], dtype=torch.float64, requires_grad=True)
    inputs = mean, likelihood.log_scale.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(log_prob, inputs)
    assert torch.autograd.gradgradcheck(log_prob, inputs)


class _LogProb(torch.nn.Module):
    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        return self.likelihood.log_prob(x, output)


# False alarms: p < 0.001 in 0.1 % of seeds.
@pytest.mark.claim("logistic-samples")
@pytest.mark.parametrize(("mean", "scale"), [(0.3, 0.05), (-0.98, 0.02), (0.2, 1.5), (1.4, 0.3), (0.0, 1e-3)])
def test_discretised_logistic_samples_follow_the_masses(mean, scale):
    likelihood, count = logistic(scale), 50_000
    output = torch.full((1, count), mean, dtype=torch.float64)
    draws = likelihood.sample(output, torch.Generator().manual_seed(5))
    k = (draws * 255).round()
    assert torch.equal(k / 255, draws)
    observed = torch.bincount(k.flatten().long(), minlength=256).numpy()
    expected = count * likelihood.log_prob(levels(), output.new_full((256, 1), mean)).exp().detach().numpy()
    common = expected >= 10
    observed, expected = (np.append(part[common], part[~common].sum()) for part in (observed, expected))
    if expected[-1] < 10:
        observed, expected = observed[:-1], expected[:-1] * observed[:-1].sum() / expected[:-1].sum()
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("scale", SCALES)
def test_discretised_logistic_mean_is_the_expectation_to_half_a_level(scale):
    likelihood = logistic(scale)
    x = levels()
    for mean in MEANS:
        expected = (likelihood.log_prob(x, torch.full_like(x, mean)).exp() * x[:, 0]).sum().item()
        found = likelihood.mean(torch.full((1, 1), mean, dtype=torch.float64)).item()
        assert found == pytest.approx(expected, abs=(0.501 if scale < 0.01 else 0.01) / 255)


@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_starts_where_asked(scale):
    assert DiscretizedLogistic(scale).scale.item() == pytest.approx(scale, rel=1e-6)


def test_values_between_the_levels_are_rounded():
    likelihood = logistic(0.1)
    mean = torch.zeros(1, 3, dtype=torch.float64)
    levels_, between = torch.tensor([[0, 100, 255.0]]) / 255, torch.tensor([[0.4, 99.7, 254.9]]) / 255
    assert torch.equal(likelihood.log_prob(between.double(), mean), likelihood.log_prob(levels_.double(), mean))


# --- continuous Bernoulli ---

LOGITS = (-100.0, -20.0, -3.0, -1.001, -0.999, -0.1, -1e-4, -1e-9, 0.0, 1e-9, 1e-4, 0.1, 0.999, 1.001, 3.0, 20.0, 100.0)


def exact_log_density(x: float, logit: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = 80
        log_partition = (((logit).exp() - 1) / logit).ln() if logit else Decimal(0)
        return Decimal(x) * logit - log_partition


@pytest.mark.claim("continuous-bernoulli")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_continuous_bernoulli_has_the_exact_density_and_gradient(x, dtype):
    relative = 1e-12 if dtype == torch.float64 else 3e-6
    for number in LOGITS:
        logit = torch.full((1, 1), number, dtype=dtype, requires_grad=True)
        target = torch.full((1, 1), x, dtype=dtype)
        value = ContinuousBernoulli().log_prob(target, logit)
        (slope,) = torch.autograd.grad(value.sum(), logit)
        at, stored = logit.item(), target.item()
        exact = exact_slope(partial(exact_log_density, stored), at)
        expected = float(exact_log_density(stored, Decimal(at)))
        assert value.item() == pytest.approx(expected, rel=relative, abs=relative * max(abs(at), 1e-9))
        assert slope.item() == pytest.approx(exact, rel=relative, abs=relative)
        mean = ContinuousBernoulli().mean(logit).item()
        assert mean == pytest.approx(stored - exact, rel=relative, abs=relative)


def test_continuous_bernoulli_is_torch_s_where_that_is_accurate():
    logits = torch.linspace(-12, 12, 49, dtype=torch.float64)[:, None]
    x = torch.rand(49, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torchs = torch.distributions.ContinuousBernoulli(logits=logits)
    torch.testing.assert_close(
        ContinuousBernoulli().log_prob(x, logits), torchs.log_prob(x)[:, 0], rtol=1e-7, atol=1e-9
    )
    torch.testing.assert_close(ContinuousBernoulli().mean(logits), torchs.mean, rtol=1e-7, atol=1e-9)


@pytest.mark.claim("continuous-bernoulli")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_continuous_bernoulli_stays_finite(dtype):
    logits = torch.tensor([[-1e30, -1e4, -100, -90, -1, 0, 1, 90, 100, 1e4, 1e30]], dtype=dtype, requires_grad=True)
    for x in (0.0, 0.4, 1.0):
        value = ContinuousBernoulli().log_prob(torch.full_like(logits, x), logits)
        (slopes,) = torch.autograd.grad(value.sum(), logits, create_graph=True)
        (curvatures,) = torch.autograd.grad(slopes.sum(), logits)
        (mean_slopes,) = torch.autograd.grad(ContinuousBernoulli().mean(logits).sum(), logits)
        for values in (value, slopes, curvatures, mean_slopes):
            assert torch.isfinite(values).all()


def test_continuous_bernoulli_gradients_against_finite_differences():
    logits = torch.tensor([[-40, -1.2, -0.4, 0, 0.3, 0.9, 1.1, 5]], dtype=torch.float64, requires_grad=True)
    x = torch.full_like(logits, 0.3).detach()
    assert torch.autograd.gradcheck(lambda output: ContinuousBernoulli().log_prob(x, output), (logits,))
    assert torch.autograd.gradgradcheck(lambda output: ContinuousBernoulli().log_prob(x, output), (logits,))


# False alarms: p < 0.001 in 0.1 % of seeds.
@pytest.mark.parametrize("logit", [-100.0, -2.0, -1e-5, 0.0, 1e-8, 0.7, 6.0, 100.0])
def test_continuous_bernoulli_samples_follow_the_density(logit):
    output = torch.full((1, 20_000), logit, dtype=torch.float64)
    draws = ContinuousBernoulli().sample(output, torch.Generator().manual_seed(4))
    assert draws.min() >= 0
    assert draws.max() <= 1

    def cumulative(x: np.ndarray) -> np.ndarray:
        return x if abs(logit) < 1e-7 else np.expm1(logit * x) / np.expm1(logit)

    assert scipy.stats.kstest(draws[0].numpy(), cumulative).pvalue > 1e-3


# --- the prior of a likelihood's own parameters ---


class ConstantLoss(LatentVariableModel):
    """A bound of two nats."""

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__(decoder=torch.nn.Identity(), likelihood=likelihood, latent_dim=1)

    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        return Loss(torch.tensor(2.0), {"elbo": torch.tensor(-2.0)})

    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return x

    log_weights = _draw_posterior = elbo


@pytest.mark.claim("logistic-samples")
def test_the_prior_on_tau_enters_once_per_data_set():
    likelihood = DiscretizedLogistic(0.5, data_size=40)
    tau = likelihood.tau.item()
    penalty = likelihood.penalty()
    assert penalty is not None
    assert 40 * penalty.item() == pytest.approx(-scipy.stats.logistic.logpdf(tau), rel=1e-6)
    assert likelihood.scale.item() == pytest.approx(math.log1p(math.exp(tau)) ** -0.5, rel=1e-6)
    (slope,) = torch.autograd.grad(penalty, likelihood.log_scale)
    slope_of_tau = -2 * 0.5**-2 / -math.expm1(-(0.5**-2))
    assert 40 * slope.item() == pytest.approx(math.tanh(tau / 2) * slope_of_tau, rel=1e-6)
    model = ConstantLoss(likelihood)
    loss = model(torch.zeros(3, 1))
    assert loss.loss.item() == pytest.approx(2 + penalty.item())
    assert loss.parts.keys() == {"elbo", "likelihood_scale", "penalty"}
    assert loss.parts["penalty"].item() == pytest.approx(penalty.item())
    assert not loss.parts["penalty"].requires_grad
    assert model.training_loss(torch.zeros(3, 1)).loss.item() == 2


@pytest.mark.parametrize(
    "likelihood", [Gaussian(), Bernoulli(), ContinuousBernoulli(), DiscretizedLogistic()], ids=lambda item: type(item)
)
def test_no_penalty_without_a_prior(likelihood):
    assert likelihood.penalty() is None
    loss = ConstantLoss(likelihood)(torch.zeros(3, 1))
    assert loss.loss.item() == 2
    assert loss.parts.keys() == {"elbo"} | likelihood.settings().keys()


@pytest.mark.parametrize(
    ("likelihood", "outputs"),
    [
        (Gaussian(0.3), [-1.0, 0.2]),
        (Bernoulli(), [-3.0, 0.1, 8.0]),
        (ContinuousBernoulli(), [-30.0, -1.01, -0.99, 0.0, 0.3, 200.0]),
    ],
)
def test_whitened_tangents_have_the_curvature_of_minus_log_p_as_their_gram_matrix(likelihood, outputs):
    output = torch.tensor([outputs], dtype=torch.float64)
    x = torch.full_like(output, 0.4)
    exact = torch.autograd.functional.hessian(lambda at: -likelihood.log_prob(x, at).sum(), output)[0, :, 0]
    whitened = likelihood.whiten(x, output, torch.eye(len(outputs), dtype=torch.float64))
    torch.testing.assert_close((whitened @ whitened.T).detach(), exact, rtol=1e-6, atol=1e-12)


def test_whitened_tangents_of_the_logistic_have_its_information_where_bins_are_narrow():
    likelihood, output = DiscretizedLogistic(0.2), torch.tensor([[0.1]], dtype=torch.float64, requires_grad=True)
    # Fisher's information is the mean of the squared score, over all grey levels.
    levels = torch.arange(256, dtype=torch.float64)[:, None] / 255
    mass = likelihood.log_prob(levels, output.expand(256, 1)).exp()
    scores = torch.stack(
        [torch.autograd.grad(likelihood.log_prob(level[None], output).sum(), output)[0][0] for level in levels]
    )
    information = (mass[:, None] * scores.square()).sum()
    found = likelihood.whiten(levels[:1], output, torch.ones(1, 1, dtype=torch.float64)).square().sum()
    assert found.item() == pytest.approx(information.item(), rel=0.02)
