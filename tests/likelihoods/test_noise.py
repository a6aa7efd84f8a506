"""The noise of CT: each switch of the Gaussian against dense covariances, quadrature and Monte Carlo, and together."""

import itertools
import math

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor

from medlangevin.likelihoods import Gaussian
from medlangevin.likelihoods.axes import along_axes, cosine_transform, interpolation
from medlangevin.likelihoods.noise import LowPass, NoiseSpectrum, ScaleMap
from medlangevin.system.errors import MedlangevinError

SHAPE = (4, 3, 5)
LOW_PASS = LowPass((0.12, 0.2, 0.15), (2.0, 3.0, 1.5), 0.02)
SWITCHES = ("scale_per_ear", "scale_map", "correlated")
EVERY = [set(chosen) for size in range(4) for chosen in itertools.combinations(SWITCHES, size)]


def name_of(switches: set[str]) -> str:
    """The same in every process, as the order of a set is not."""
    return "+".join(sorted(switches)) or "none"


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(switches: set[str], shape: tuple[int, ...] = SHAPE, *, scale: float = 0.3, channels: int = 1) -> Gaussian:
    """With a map and a spectrum that are not flat, in float64."""
    likelihood = Gaussian(
        scale, image_shape=(channels, *shape), **{name: name in switches for name in SWITCHES}
    ).double()
    likelihood.log_scale.data.fill_(math.log(scale))
    if likelihood.log_spread is not None:
        likelihood.log_spread.data.fill_(math.log(0.4))
    if likelihood.scale_map is not None:
        likelihood.scale_map.log_scales.data.copy_(0.5 * noise(*likelihood.scale_map.log_scales.shape, seed=9))
    if likelihood.spectrum is not None:
        likelihood.spectrum.set(LOW_PASS)
    return likelihood


def correlation(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """R by the definition, one basis image at a time with SciPy's transform."""
    power = LOW_PASS.power(shape).numpy()
    eye = np.eye(power.size).reshape(-1, *shape)
    axes = tuple(range(1, len(shape) + 1))
    coefficients = scipy.fft.dctn(eye, axes=axes, norm="ortho")
    covariance = scipy.fft.idctn(power * coefficients, axes=axes, norm="ortho").reshape(power.size, power.size)
    sizes = np.sqrt(np.diag(covariance))
    return covariance / sizes / sizes[:, None]


def dense_shape(likelihood: Gaussian) -> np.ndarray:
    """S R S of one channel, without the scale."""
    count = math.prod(SHAPE)
    matrix = np.eye(count) if likelihood.spectrum is None else correlation()
    if likelihood.scale_map is not None:
        scales = likelihood.scale_map.log_scale().exp().detach().numpy().ravel()
        matrix = matrix * scales * scales[:, None]
    return matrix


def shape_of_inverse_gamma(likelihood: Gaussian) -> tuple[float, float]:
    """a and b, from what the documentation says of scale and spread."""
    assert likelihood.spread is not None
    a = 1 / (4 * likelihood.spread.item() ** 2)
    return a, a * likelihood.scale.item() ** 2


# --- the parts ---


@pytest.mark.parametrize("size", [1, 2, 5, 50])
def test_the_cosine_transform_is_orthonormal(size):
    matrix = cosine_transform(size)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(7,), (4, 6), SHAPE])
def test_the_cosine_transform_is_scipy_s(shape):
    x = noise(2, *shape)
    found = along_axes(x, [cosine_transform(size) for size in shape])
    expected = scipy.fft.dctn(x.numpy(), axes=tuple(range(1, x.ndim)), norm="ortho")
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-13)


def test_matrices_along_axes_may_change_their_lengths():
    x, matrices = noise(2, 3, 4, 5), [noise(6, 3, seed=1), noise(2, 4, seed=2), noise(7, 5, seed=3)]
    expected = torch.einsum("nijk,ai,bj,ck->nabc", x, *matrices)
    torch.testing.assert_close(along_axes(x, matrices), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("size", "count"), [(60, 8), (5, 2), (3, 3), (1, 1)])
def test_interpolation_is_linear_between_the_ends(size, count):
    matrix, values = interpolation(size, count).numpy(), np.arange(count) ** 2.0
    expected = np.interp(np.linspace(0, count - 1, size), np.arange(count), values)
    np.testing.assert_allclose(matrix @ values, expected, atol=1e-12)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize("shape", [(60, 50, 50), SHAPE, (28, 28)])
@pytest.mark.parametrize("floor", [0.0, 1e-3, 0.2])
def test_the_spectrum_is_a_low_pass_with_a_floor_and_mean_one(shape, floor):
    axes = len(shape)
    power = LowPass((0.12, 0.2, 0.15)[:axes], (2.0, 3.0, 1.5)[:axes], floor).power(shape)
    assert power.shape == shape
    assert power.mean().item() == pytest.approx(1, abs=1e-12)
    for axis in range(axes):
        assert (power.diff(dim=axis) <= 0).all()
    assert power.max() == power.flatten()[0]
    assert power.min() >= floor * power.max() * (1 - 1e-12)


def test_the_power_is_a_half_at_the_cut_off():
    power = LowPass((0.25, 1e9), (3.0, 2.0), 0.0).power((8, 4))
    torch.testing.assert_close(power[4] / power[0], torch.full((4,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("shape", [SHAPE, (6, 7), (9,)])
def test_correlated_noise_has_variance_one_everywhere(shape):
    spectrum = NoiseSpectrum(shape)
    spectrum.set(LowPass(LOW_PASS.cutoffs[: len(shape)], LOW_PASS.exponents[: len(shape)], 0.02))
    # Rows are R^(1/2): what each white coefficient adds to each voxel.
    root = spectrum.colour(torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)).flatten(1)
    torch.testing.assert_close((root.T @ root).diagonal(), torch.ones(len(root), dtype=torch.float64))
    torch.testing.assert_close(spectrum.half_log_det, 0.5 * torch.linalg.slogdet(root.T @ root).logabsdet)
    x = noise(2, *shape)
    torch.testing.assert_close(spectrum.colour(spectrum.whiten(x)), x)


def test_a_spectrum_is_white_until_it_is_set():
    spectrum, x = NoiseSpectrum(SHAPE), noise(2, *SHAPE)
    torch.testing.assert_close(spectrum.whiten(x).square().sum(), x.square().sum())
    assert spectrum.half_log_det == 0
    torch.testing.assert_close(spectrum.low_pass.power(SHAPE), torch.ones(SHAPE, dtype=torch.float64))


def test_a_map_is_flat_at_first_and_sums_to_zero():
    scale_map = ScaleMap((60, 50, 50)).double()
    assert scale_map.log_scales.shape == (8, 7, 7)
    assert not scale_map.log_scale().any()
    scale_map.log_scales.data.normal_()
    assert scale_map.log_scale().sum().abs().item() < 1e-8
    assert ScaleMap((1, 3, 9)).log_scales.shape == (1, 2, 2)


# --- the density ---


@pytest.mark.claim("ct-noise")
@pytest.mark.parametrize("switches", EVERY, ids=name_of)
@pytest.mark.parametrize("channels", [1, 2])
def test_log_p_is_that_of_the_dense_normal_or_multivariate_t(switches, channels):
    likelihood = gaussian(switches, channels=channels)
    x, mean = noise(3, channels, *SHAPE, seed=1), noise(3, channels, *SHAPE, seed=2)
    matrix = np.kron(np.eye(channels), dense_shape(likelihood))
    residual = (x - mean).flatten(1).numpy()
    if "scale_per_ear" in switches:
        # t^2 ~ inverse gamma(a, b): a multivariate t with 2 a degrees of freedom and the shape b / a.
        a, b = shape_of_inverse_gamma(likelihood)
        expected = scipy.stats.multivariate_t(shape=b / a * matrix, df=2 * a).logpdf(residual)
    else:
        expected = scipy.stats.multivariate_normal(cov=0.3**2 * matrix).logpdf(residual)
    np.testing.assert_allclose(likelihood.log_prob(x, mean).detach().numpy(), expected, rtol=1e-10)
    assert likelihood.log_prob(x.float(), mean.float()).dtype == torch.float64


@pytest.mark.claim("ct-noise")
@pytest.mark.parametrize("residual", [0.05, 0.3, 1.5])
def test_the_scale_of_an_ear_is_integrated_out(residual):
    likelihood = gaussian({"scale_per_ear", "scale_map", "correlated"})
    x, mean = residual * noise(1, 1, *SHAPE, seed=1), torch.zeros(1, 1, *SHAPE, dtype=torch.float64)
    a, b = shape_of_inverse_gamma(likelihood)
    normal = scipy.stats.multivariate_normal(cov=dense_shape(likelihood))
    squares, count = -2 * (normal.logpdf(x.flatten().numpy()) - normal.logpdf(mean.flatten().numpy())), math.prod(SHAPE)

    def log_integrand(log_variance: float) -> float:
        log_normal = normal.logpdf(mean.flatten().numpy()) - 0.5 * (squares / math.exp(log_variance))
        log_prior = scipy.stats.invgamma(a, scale=b).logpdf(math.exp(log_variance)) + log_variance
        return log_normal - 0.5 * count * log_variance + log_prior

    peak = max(np.linspace(-12, 6, 500), key=log_integrand)
    level = log_integrand(peak)
    integral, _ = scipy.integrate.quad(
        lambda at: math.exp(log_integrand(at) - level), peak - 5, peak + 8, epsabs=0, epsrel=1e-10, limit=200
    )
    assert likelihood.log_prob(x, mean).item() == pytest.approx(level + math.log(integral), abs=1e-7)


@pytest.mark.claim("ct-noise")
def test_without_switches_it_is_white_noise_of_one_scale_bit_for_bit():
    x, mean = noise(3, 1, *SHAPE, seed=1).float(), noise(3, 1, *SHAPE, seed=2).float()
    likelihood = Gaussian(0.2, image_shape=(1, *SHAPE))
    assert list(likelihood.state_dict()) == ["log_scale"]
    scale, log_scale = likelihood.scale, likelihood.log_scale.double()
    squares = (x - mean).square().flatten(1).sum(1, dtype=torch.float64)
    expected = -0.5 * squares * torch.exp(-2 * log_scale) - 60 * (log_scale + 0.5 * math.log(2 * math.pi))
    assert torch.equal(likelihood.log_prob(x, mean), expected)
    assert torch.equal(likelihood.whiten(x[:1], mean[:1], x), x / scale)
    draws = torch.randn(mean.shape, generator=torch.Generator().manual_seed(4))
    assert torch.equal(likelihood.sample(mean, torch.Generator().manual_seed(4)), mean + scale * draws)
    assert likelihood.settings().keys() == {"likelihood_scale"}


@pytest.mark.parametrize("switches", EVERY, ids=name_of)
def test_gradients_of_first_and_second_order_against_finite_differences(switches):
    shape = (2, 3, 2)
    likelihood = gaussian(switches, shape)
    x, output = noise(2, 1, *shape, seed=1), noise(2, 1, *shape, seed=2).requires_grad_()
    names, parameters = zip(*likelihood.named_parameters(prefix="likelihood"), strict=True)

    def log_prob(output: Tensor, *values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(LogProb(likelihood), given, (x, output))

    inputs = (output, *[value.detach().clone().requires_grad_() for value in parameters])
    assert torch.autograd.gradcheck(log_prob, inputs)
    assert torch.autograd.gradgradcheck(log_prob, inputs)


class LogProb(torch.nn.Module):
    def __init__(self, likelihood: Gaussian) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        return self.likelihood.log_prob(x, output)


@pytest.mark.parametrize("switches", EVERY, ids=name_of)
def test_autocast_does_not_make_it_coarser(switches):
    x, mean = noise(2, 1, *SHAPE, seed=1).float(), noise(2, 1, *SHAPE, seed=2).float()
    likelihood = gaussian(switches).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = likelihood.log_prob(x, mean)
    assert torch.equal(inside, likelihood.log_prob(x, mean))


def test_a_scale_s_prior_that_is_narrow_is_a_fixed_scale():
    fixed, narrow = gaussian({"correlated"}), gaussian({"correlated", "scale_per_ear"})
    assert narrow.log_spread is not None
    narrow.log_spread.data.fill_(math.log(1e-5))
    x, mean = 0.3 * noise(3, 1, *SHAPE, seed=1), torch.zeros(3, 1, *SHAPE, dtype=torch.float64)
    torch.testing.assert_close(narrow.log_prob(x, mean), fixed.log_prob(x, mean), rtol=0, atol=1e-4)


# --- draws ---


@pytest.mark.claim("ct-noise")
@pytest.mark.parametrize("switches", EVERY, ids=name_of)
def test_draws_have_the_covariance(switches):
    """All 1,830 entries within 5 standard errors: a false alarm once in 950 seeds. At a = 12.5 t has such moments."""
    likelihood, count = gaussian(switches), 40_000
    variance = likelihood.scale.item() ** 2
    if likelihood.log_spread is not None:
        likelihood.log_spread.data.fill_(-0.5 * math.log(50))
        a, b = shape_of_inverse_gamma(likelihood)
        variance = b / (a - 1)
    mean = noise(1, 1, *SHAPE).expand(count, -1, -1, -1, -1)
    draws = (likelihood.sample(mean, torch.Generator().manual_seed(1)) - mean).detach().flatten(1)
    expected = torch.from_numpy(variance * dense_shape(likelihood))
    error = torch.sqrt((draws.square().T @ draws.square() / count - expected.square()) / count)
    assert ((draws.T @ draws / count - expected).abs() < 5 * error).all()


@pytest.mark.claim("ct-noise")
def test_scales_of_draws_follow_the_inverse_gamma():
    """False alarms: p < 0.001 in 0.1 % of seeds."""
    likelihood = gaussian({"scale_per_ear"}, (20, 20, 20))
    a, b = shape_of_inverse_gamma(likelihood)
    draws = likelihood.sample(torch.zeros(500, 1, 20, 20, 20, dtype=torch.float64), torch.Generator().manual_seed(2))
    # The variance of 8,000 voxels is t^2 to 1.6 %, where t^2 spreads by 130 %.
    found = draws.flatten(1).square().mean(1).detach().numpy()
    assert scipy.stats.kstest(found, scipy.stats.invgamma(a, scale=b).cdf).pvalue > 1e-3


# --- whitened tangents ---


@pytest.mark.parametrize("switches", [names for names in EVERY if "scale_per_ear" not in names], ids=name_of)
def test_whitened_tangents_have_the_hessian_of_a_fixed_scale_as_their_gram_matrix(switches):
    likelihood = gaussian(switches)
    x, output = noise(1, 1, *SHAPE, seed=1), noise(1, 1, *SHAPE, seed=2)
    hessian = torch.autograd.functional.hessian(lambda at: -likelihood.log_prob(x, at).sum(), output)
    tangents = torch.eye(60, dtype=torch.float64).reshape(60, 1, *SHAPE)
    whitened = likelihood.whiten(x, output, tangents).detach().flatten(1)
    torch.testing.assert_close(whitened @ whitened.T, hessian.reshape(60, 60), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("switches", [names for names in EVERY if "scale_per_ear" in names], ids=name_of)
def test_whitened_tangents_of_an_integrated_scale_have_its_posterior_mean_precision(switches):
    likelihood = gaussian(switches)
    x, output = noise(1, 1, *SHAPE, seed=1), noise(1, 1, *SHAPE, seed=2)
    inverse = np.linalg.inv(dense_shape(likelihood))
    residual = (x - output).flatten().numpy()
    a, b = shape_of_inverse_gamma(likelihood)
    squares = residual @ inverse @ residual
    tangents = torch.eye(60, dtype=torch.float64).reshape(60, 1, *SHAPE)
    whitened = likelihood.whiten(x, output, tangents).detach().flatten(1)
    expected = (a + 30) / (b + squares / 2) * inverse
    np.testing.assert_allclose((whitened @ whitened.T).numpy(), expected, rtol=1e-9, atol=1e-9)
    # The Hessian is this less a term along the gradient, which a Gauss-Newton step leaves out.
    hessian = torch.autograd.functional.hessian(lambda at: -likelihood.log_prob(x, at).sum(), output).reshape(60, 60)
    along = inverse @ residual
    correction = (a + 30) / (b + squares / 2) ** 2 * np.outer(along, along)
    np.testing.assert_allclose(hessian.numpy(), expected - correction, rtol=1e-8, atol=1e-8)


# --- the module ---


def test_a_map_or_a_spectrum_needs_the_shape_of_the_images():
    with pytest.raises(MedlangevinError, match="give image_shape"):
        Gaussian(0.1, scale_map=True)
    with pytest.raises(MedlangevinError, match="give image_shape"):
        Gaussian(0.1, correlated=True)
    Gaussian(0.1, scale_per_ear=True)


@pytest.mark.parametrize("switches", EVERY, ids=name_of)
def test_loading_a_state_restores_what_follows_from_it(switches):
    trained = gaussian(switches)
    fresh = Gaussian(image_shape=(1, *SHAPE), **{name: name in switches for name in SWITCHES}).double()
    fresh.load_state_dict(trained.state_dict())
    x, mean = noise(3, 1, *SHAPE, seed=1), noise(3, 1, *SHAPE, seed=2)
    assert torch.equal(fresh.log_prob(x, mean), trained.log_prob(x, mean))
    assert len(trained.state_dict()) == 1 + sum({"correlated": 3}.get(name, 1) for name in switches)


def test_settings_tell_the_spread_of_scales():
    assert gaussian({"scale_per_ear"}).settings().keys() == {"likelihood_scale", "likelihood_spread"}
