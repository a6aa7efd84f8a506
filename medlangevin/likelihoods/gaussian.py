"""The Gaussian likelihood: white noise of one scale, or noise as it is in CT."""

import math
from collections.abc import Iterable

import torch
from scipy.special import gammaincinv
from torch import Tensor, nn

from medlangevin.likelihoods.base import LOG_TWO_PI, Likelihood, at_least_float32, sum_elements
from medlangevin.likelihoods.noise import NoiseSpectrum, ScaleMap
from medlangevin.likelihoods.noise_fit import fit_noise
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.random import standard_normal, uniform

_INITIAL_SPREAD = 0.25
# Noise that was measured may be none at all.
_LEAST_SCALE, _LEAST_SPREAD = 1e-4, 0.05


class Gaussian(Likelihood):
    """Gaussian noise about the mean image, x = output + t S R^(1/2) white noise (docs/mathematics.md, likelihoods).

    By itself t is one learned scale for all images and elements, in the units of x, and S and R are 1. Three switches,
    alone or together, make it the noise of CT.

    Args:
        initial_scale: The standard deviation to start from, unless ``prepare`` measures it.
        image_shape: (C, *spatial); ``scale_map`` and ``correlated`` need it.
        scale_per_ear: Each image has its own t, integrated out: t^2 ~ inverse gamma(a, b), a and b learned.
        scale_map: S is diagonal, a smooth learned map over the voxels with geometric mean 1.
        correlated: Neighbouring voxels share noise: R is that of ``NoiseSpectrum``, fixed by ``prepare``.

    Raises:
        MedlangevinError: ``image_shape`` is missing.
    """

    def __init__(
        self,
        initial_scale: float = 0.1,
        *,
        image_shape: tuple[int, ...] | None = None,
        scale_per_ear: bool = False,
        scale_map: bool = False,
        correlated: bool = False,
    ) -> None:
        super().__init__()
        if image_shape is None and (scale_map or correlated):
            raise MedlangevinError("scale_map and correlated are made for images of one shape; give image_shape")
        spatial = (image_shape or ())[1:]
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial_scale)))
        self.log_spread = nn.Parameter(torch.tensor(math.log(_INITIAL_SPREAD))) if scale_per_ear else None
        self.scale_map = ScaleMap(spatial) if scale_map else None
        self.spectrum = NoiseSpectrum(spatial) if correlated else None

    @property
    def scale(self) -> Tensor:
        """The standard deviation, a 0-d tensor; where each image has its own, (mean of 1 / t^2)^(-1/2)."""
        return self.log_scale.exp()

    @property
    def spread(self) -> Tensor | None:
        """1 / (2 sqrt(a)), about the standard deviation of log t over images, 0-d; None where t is the same for all."""
        return None if self.log_spread is None else self.log_spread.exp()

    @property
    def is_white(self) -> bool:
        """Whether the noise is white and of one scale: between families of noise nats cannot be compared."""
        return self.log_spread is None and self.scale_map is None and self.spectrum is None

    def prepare(
        self, images: Iterable[Tensor], mean_image: Tensor, window_hu: tuple[float, float] | None
    ) -> str | None:
        """Fit the noise to training images: its spectrum stays fixed then, its scale is where learning starts.

        A spectrum that is learned would take in anatomy.

        Args:
            images: Batches (N, C, *spatial) in [0, 1].
            mean_image: Their mean, (C, *spatial).
            window_hu: The HU of 0 and 1; None where images are not CT.

        Returns:
            What was found, in a line; None where noise is not correlated.
        """
        if self.spectrum is None:
            return None
        fit = fit_noise(images, mean_image, window_hu)
        self.spectrum.set(fit.low_pass)
        self.log_scale.data.fill_(math.log(max(fit.scale, _LEAST_SCALE)))
        if self.log_spread is not None and fit.spread is not None:
            self.log_spread.data.fill_(math.log(max(fit.spread, _LEAST_SPREAD)))
        return fit.describe()

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """The log density of a normal, or, with a scale for each image, of a multivariate t.

        Args:
            x: Images, (N, ...).
            output: The means, (N, ...).

        Returns:
            log p(x | output) of each image in nats, (N,) float64.
        """
        log_scale, size = self.log_scale.double(), x[0].numel()
        squares = sum_elements(self._whitened(at_least_float32(x) - at_least_float32(output)).square())
        if self.log_spread is None:
            log_prob = -0.5 * squares * torch.exp(-2 * log_scale) - size * (log_scale + 0.5 * LOG_TWO_PI)
        else:
            a, log_b = self._inverse_gamma()
            log_prob = (
                torch.lgamma(a + 0.5 * size)
                - torch.lgamma(a)
                + a * log_b
                - (a + 0.5 * size) * torch.log(log_b.exp() + 0.5 * squares)
                - 0.5 * size * LOG_TWO_PI
            )
        return log_prob if self.spectrum is None else log_prob - x.shape[1] * self.spectrum.half_log_det

    def mean(self, output: Tensor) -> Tensor:
        """The output itself.

        Args:
            output: The means, (N, ...).

        Returns:
            ``output``.
        """
        return output

    def settings(self) -> dict[str, Tensor]:
        """What is learned beside the networks, but for the map.

        Returns:
            The scale, as ``likelihood_scale``, and ``likelihood_spread`` where each image has its own.
        """
        spread = {} if self.spread is None else {"likelihood_spread": self.spread}
        return {"likelihood_scale": self.scale} | spread

    def whiten(self, x: Tensor, output: Tensor, tangents: Tensor) -> Tensor:
        """Tangents over the noise's scale, as coefficients of its spectrum where it is correlated.

        With a scale for each image, 1 / t^2 is its posterior mean given the residual, (a + D / 2) / (b + |w|^2 / 2).

        Args:
            x: One image, (1, ...).
            output: The means, (1, ...).
            tangents: Directions in which the output moves, (d, ...).

        Returns:
            (d, ...).
        """
        whitened = self._whitened(tangents)
        if self.log_spread is None:
            return whitened / self.scale
        a, log_b = self._inverse_gamma()
        squares = sum_elements(self._whitened(at_least_float32(x) - at_least_float32(output)).square())
        precision = (a + 0.5 * x[0].numel()) / (log_b.exp() + 0.5 * squares)
        return whitened * precision.sqrt().to(whitened.dtype).view(-1, *[1] * (x.ndim - 1))

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The output plus noise; its scale, where each image has its own, is drawn from the inverse gamma.

        Args:
            output: The means, (N, ...).
            generator: The source of the noise; None means torch's default one.

        Returns:
            Images, (N, ...).
        """
        noise = standard_normal(tuple(output.shape), like=output, generator=generator)
        if self.spectrum is not None:
            noise = self.spectrum.colour(noise)
        if self.scale_map is not None:
            noise = noise * self.scale_map.log_scale().exp().to(noise.dtype)
        return output + self._draw_scale(output, generator) * noise

    def _whitened(self, values: Tensor) -> Tensor:
        """R^(-1/2) S^(-1) ``values``."""
        weight: Tensor | float = 1.0
        if self.scale_map is not None:
            weight = torch.exp(-self.scale_map.log_scale()).to(values.dtype)
        if self.spectrum is not None:
            return self.spectrum.whiten(values, weight)
        return values if self.scale_map is None else values * weight

    def _inverse_gamma(self) -> tuple[Tensor, Tensor]:
        """a and log b of t^2, 0-d float64: 1 / t^2 has the mean a / b = 1 / scale^2 and the deviation of 2 spread."""
        assert self.log_spread is not None
        log_a = -2 * self.log_spread.double() - math.log(4)
        return log_a.exp(), log_a + 2 * self.log_scale.double()

    def _draw_scale(self, output: Tensor, generator: torch.Generator | None) -> Tensor:
        """t of each image, (N, 1, ...), or 0-d where it is the same for all."""
        if self.log_spread is None:
            return self.scale
        a, log_b = (value.detach().cpu() for value in self._inverse_gamma())
        share = uniform((len(output),), like=output.new_empty(0, dtype=torch.float64), generator=generator).cpu()
        # 1 / (b t^2) by the inverse of its distribution function; a share of 0 would be an infinite scale.
        gamma = torch.from_numpy(gammaincinv(a.numpy(), share.clamp(min=1e-12).numpy()))
        scale = torch.exp(0.5 * (log_b - gamma.log()))
        return scale.to(output).view(-1, *[1] * (output.ndim - 1))
