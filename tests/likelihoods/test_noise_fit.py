"""The fit of the noise's spectrum: known noise in synthetic bone comes out, and other images fall back."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from medlangevin.datasets.crop_arrays import to_unit
from medlangevin.likelihoods import Gaussian
from medlangevin.likelihoods.bone import HomogeneousBone
from medlangevin.likelihoods.noise import LowPass, NoiseSpectrum
from medlangevin.likelihoods.noise_fit import FLOOR, fit_noise

WINDOW = (-1000.0, 2500.0)
SHAPE = (40, 32, 32)


def bone(noise: list[np.ndarray], scale_hu: float = 60.0) -> Tensor:
    """Ears (N, 1, *spatial): bone of 1,800 HU that grows denser along an axis, a cavity of water, and noise."""
    grid = np.indices(noise[0].shape)
    anatomy = 1700 + 4.0 * grid[0] + 0.0 * grid[1]
    middle = np.array(anatomy.shape)[:, None, None, None] / 2
    anatomy[((grid - middle) ** 2).sum(0) < 6**2] = 0.0
    hu = np.stack([anatomy + scale_hu * part / part.std() for part in noise])
    return to_unit(torch.from_numpy(hu).float(), WINDOW)[:, None]


def smoothed(widths: tuple[float, float, float], count: int = 6) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [gaussian_filter(random.standard_normal(SHAPE), widths, mode="reflect") for _ in range(count)]


@pytest.mark.claim("ct-noise-fit")
@pytest.mark.parametrize("widths", [(1.0, 1.0, 1.0), (1.2, 1.0, 0.8), (0.6, 0.6, 1.2)])
def test_smoothed_white_noise_has_its_gaussian_spectrum(widths):
    """A Gaussian of width s multiplies power by exp(-(2 pi f s)^2): half of it at f = sqrt(log 2) / (2 pi s).

    It has less than the floor at the highest frequencies, for which the fit makes up by a sharper fall.
    """
    images = bone(smoothed(widths))
    fit = fit_noise(images.split(4), images.mean(0), WINDOW)
    assert "patches of bone in 6 ears" in fit.source
    expected = [math.sqrt(math.log(2)) / (2 * math.pi * width) for width in widths]
    np.testing.assert_allclose(fit.low_pass.cutoffs, expected, rtol=0.15)
    np.testing.assert_allclose(fit.low_pass.exponents, 2, rtol=0.35)
    assert fit.low_pass.floor == FLOOR
    assert fit.scale * 3500 == pytest.approx(60, rel=0.1)


@pytest.mark.claim("ct-noise-fit")
def test_noise_of_the_family_has_its_own_parameters():
    known = LowPass((0.12, 0.14, 0.18), (2.5, 2.5, 2.0), FLOOR)
    spectrum = NoiseSpectrum(SHAPE)
    spectrum.set(known)
    white = torch.randn(12, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images = bone(list(spectrum.colour(white).numpy()))
    fit = fit_noise([images], images.mean(0), WINDOW)
    np.testing.assert_allclose(fit.low_pass.cutoffs, known.cutoffs, rtol=0.1)
    np.testing.assert_allclose(fit.low_pass.exponents, known.exponents, rtol=0.2)
    assert fit.scale * 3500 == pytest.approx(60, rel=0.05)


@pytest.mark.claim("ct-noise-fit")
def test_draws_of_the_fit_have_the_noise_that_was_measured():
    images = bone(smoothed((1.2, 1.2, 0.8)))
    mean = images.mean(0)
    fit = fit_noise([images], mean, WINDOW)
    spectrum = NoiseSpectrum(SHAPE)
    spectrum.set(fit.low_pass)
    white = torch.randn(6, 1, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    draws = mean + fit.scale * spectrum.colour(white)
    places = HomogeneousBone.of(mean[0].double().numpy(), WINDOW)
    real, drawn = ([places.noise(image[0].double().numpy()) for image in part] for part in (images, draws))
    for measured in (lambda noise: noise.scale, lambda noise: np.concatenate(noise.correlation)):
        before, after = (np.mean([measured(noise) for noise in part], axis=0) for part in (real, drawn))
        np.testing.assert_allclose(after, before, rtol=0.05, atol=0.03)


def test_white_noise_has_no_cut_off_below_the_highest_frequency():
    images = bone(smoothed((0, 0, 0)))
    fit = fit_noise([images], images.mean(0), WINDOW)
    power = fit.low_pass.power(SHAPE)
    assert power.min() > 0.8
    assert power.max() < 1.3


def test_every_ear_counts_alike_however_noisy():
    quiet, loud = smoothed((1.0, 1.0, 1.0)), smoothed((1.0, 1.0, 1.0))
    images = torch.cat([bone(quiet, 20.0), bone(loud, 120.0)])
    fit = fit_noise([images], images.mean(0), WINDOW)
    np.testing.assert_allclose(fit.low_pass.cutoffs, 0.1325, rtol=0.15)
    assert fit.spread == pytest.approx(0.5 * math.log(6), rel=0.1)
    likelihood = Gaussian(image_shape=(1, *SHAPE), scale_per_ear=True, correlated=True)
    likelihood.prepare([images], images.mean(0), WINDOW)
    assert likelihood.scale.item() == pytest.approx(fit.scale)
    assert likelihood.spread is not None
    assert likelihood.spread.item() == pytest.approx(fit.spread)


def test_clipped_bone_is_left_out():
    images = bone(smoothed((1.0, 1.0, 1.0)))
    images[:, :, :, :16] += 700 / 3500
    places = HomogeneousBone.of(images.mean(0)[0].double().numpy(), WINDOW)
    noise = places.noise(images[0, 0].clamp(max=1).double().numpy())
    assert noise is not None
    assert noise.scale * 3500 == pytest.approx(60 * 0.82, rel=0.15)
    assert places.noise(np.ones(SHAPE)) is None
    assert places.noise(np.full(SHAPE, 0.8)) is None


@pytest.mark.claim("ct-noise-fit")
@pytest.mark.parametrize("window", [WINDOW, None])
def test_without_bone_the_upper_half_of_frequencies_is_taken(window):
    known = LowPass((0.25, 0.3, 0.2), (2.0, 2.0, 2.0), FLOOR)
    spectrum = NoiseSpectrum(SHAPE)
    spectrum.set(known)
    noise = spectrum.colour(torch.randn(6, 1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    # Smooth anatomy that varies from ear to ear, far stronger than the noise, where there is no bone.
    slow = torch.from_numpy(np.stack(smoothed((5.0, 5.0, 5.0))))[:, None]
    images = (0.3 + 0.05 * slow / slow.std() + 0.01 * noise).float()
    fit = fit_noise([images], images.mean(0), window)
    assert fit.source == "the upper half of frequencies"
    np.testing.assert_allclose(fit.low_pass.cutoffs, known.cutoffs, rtol=0.1)
    # Residuals from the mean of six have 5/6 of the variance.
    assert fit.scale == pytest.approx(0.01 * math.sqrt(5 / 6), rel=0.1)


def test_the_floor_is_at_least_rounding_to_whole_hu():
    images = bone(smoothed((1.0, 1.0, 1.0)), scale_hu=2.0)
    fit = fit_noise([images], images.mean(0), WINDOW)
    plateau = fit.low_pass.power(SHAPE).max().item() * (3500 * fit.scale) ** 2
    assert 1 / 12 <= fit.low_pass.floor * plateau < 1 / 6


@pytest.mark.parametrize("shape", [(1, 8, 6, 5), (1, 4, 3, 1), (3, 7, 9), (1, 1, 1)])
def test_images_of_any_shape_have_a_fit(shape):
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    likelihood = Gaussian(image_shape=shape, correlated=True)
    note = likelihood.prepare([images], images.mean(0), WINDOW)
    assert note is not None
    assert note.startswith("noise from")
    assert torch.isfinite(likelihood.log_prob(images, images.mean(0).expand_as(images))).all()


def test_images_without_any_noise_have_a_fit():
    images = torch.zeros(3, 1, 8, 6, 5)
    fit = fit_noise([images], images[0], WINDOW)
    assert torch.isfinite(LowPass(*fit.low_pass).power((8, 6, 5))).all()


def test_nothing_is_fitted_where_noise_is_not_correlated():
    images = torch.rand(3, 1, 8, 6, 5)
    assert Gaussian(image_shape=(1, 8, 6, 5), scale_map=True).prepare([images], images[0], WINDOW) is None
