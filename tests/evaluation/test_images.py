"""Figures of a run of images: exact in closed form, by hand, alone and together, refused where they would mislead."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from medlangevin.config import parse_config
from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.datasets.images import load_splits, model_images
from medlangevin.evaluation import digits, images
from medlangevin.evaluation.decoder_likelihood import DecoderLikelihood
from medlangevin.evaluation.digits import frechet_distance
from medlangevin.evaluation.figure import Figure, figure_of
from medlangevin.evaluation.images import evaluate_images
from medlangevin.likelihoods import Bernoulli, Gaussian
from medlangevin.models import LatentVariableModel, Loss
from medlangevin.models.vae import VAE
from medlangevin.runs.checkpoint import TrainingState
from medlangevin.runs.folder import describe_images
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError

SHAPE, LATENT_DIM, SCALE = (1, 3, 4), 3, 0.15
DIMENSIONS = math.prod(SHAPE)
TEST, VALIDATION = 24, 7


class LinearDecoder(nn.Module):
    """x = W z + 1/2."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T + 0.5).unflatten(1, SHAPE)


class LinearEncoder(nn.Module):
    """q(z | x) with the posterior's mean and 1.2 times its marginal scales."""

    gain: Tensor
    scale: Tensor

    def __init__(self, gain: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("gain", gain)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x.flatten(1) - 0.5) @ self.gain.T, self.scale.expand(len(x), -1)


class Linear(NamedTuple):
    """The run, its test images x (N, ...), their exact -log p(x) (N,), and KL(q || posterior), the same for all."""

    run: Run
    x: Tensor
    nll: Tensor
    divergence: float


def make_run(model: LatentVariableModel, path: Path, **settings: Any) -> Run:
    """A run of ``model`` that says it was trained on the set at ``path``."""
    raw = {"name": "known", "images": {"set": str(path), **settings}, "model": {"kind": "vae"}}
    config = parse_config(raw, source="test")
    assert config.images is not None
    source = load_splits(config.images).source
    data = describe_images(source, config.images)
    return Run(path.parent / "known", config, model.eval(), source.shape, data, TrainingState())


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Linear:
    random = torch.Generator().manual_seed(0)
    weight = 0.15 * torch.randn(DIMENSIONS, LATENT_DIM, generator=random, dtype=torch.float64)
    precision = torch.eye(LATENT_DIM, dtype=torch.float64) + weight.T @ weight / SCALE**2
    posterior = torch.linalg.inv(precision)
    scale = 1.2 * posterior.diagonal().sqrt()
    encoder = LinearEncoder((posterior @ weight.T / SCALE**2).float(), scale.float())
    model = VAE(
        encoder=encoder, decoder=LinearDecoder(weight.float()), likelihood=Gaussian(SCALE), latent_dim=LATENT_DIM
    )

    def draw(count: int) -> np.ndarray:
        z = torch.randn(count, LATENT_DIM, generator=random, dtype=torch.float64)
        noise = SCALE * torch.randn(count, DIMENSIONS, generator=random, dtype=torch.float64)
        levels = (255 * (z @ weight.T + 0.5 + noise)).round().clamp(0, 255)
        return levels.to(torch.uint8).unflatten(1, SHAPE).numpy()

    path = tmp_path_factory.mktemp("linear") / "linear.npz"
    arrays: dict[str, Any] = {"x_train": draw(3), "x_valid": draw(VALIDATION), "x_test": draw(TEST)}
    np.savez(path, **arrays)
    x = torch.from_numpy(arrays["x_test"]).double() / 255
    covariance = weight @ weight.T + SCALE**2 * torch.eye(DIMENSIONS, dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(torch.full((DIMENSIONS,), 0.5, dtype=torch.float64), covariance)
    zero = torch.zeros(LATENT_DIM, dtype=torch.float64)
    divergence = torch.distributions.kl_divergence(
        torch.distributions.MultivariateNormal(zero, scale.square().diag()),
        torch.distributions.MultivariateNormal(zero, posterior),
    )
    return Linear(make_run(model, path), x.float(), -law.log_prob(x.flatten(1)), divergence.item())


def measure(run: Run, *, seed: int = 0, **settings: Any) -> dict[str, Figure]:
    return evaluate_images(run, ImageEvaluation.model_validate(settings), seed=seed, cache=Path("unused"))


# Bounds: 5 times the standard deviation over 100 other seeds, a false alarm in two million each. The logarithms of
# means are biased by 0.001 and 0.009 nats.
@pytest.mark.claim("image-figures")
def test_a_linear_decoder_s_figures_are_the_exact_ones(linear: Linear) -> None:
    figures = measure(
        linear.run,
        elbo_draws=400,
        evidence={"samples": 1000, "images": 22},
        importance={"samples": 1000, "images": 20},
        annealing={"temperatures": 200, "chains": 32, "images": 12},
    )
    nll = linear.nll
    assert figures["negative_elbo"].mean == pytest.approx(nll.mean().item() + linear.divergence, abs=5 * 0.022)
    assert linear.divergence > 0.2  # nats: the bound is told from the NLL
    assert figures["negative_elbo"].mean > nll.mean()
    assert figures["nll"].mean == pytest.approx(nll[:22].mean().item(), abs=5 * 0.0011)
    assert figures["nll_encoder"].mean == pytest.approx(nll[:20].mean().item(), abs=5 * 0.0047)
    assert figures["nll_ais"].mean == pytest.approx(nll[:12].mean().item(), abs=5 * 0.025)
    assert figures["ais_effective_sample_size"].mean == pytest.approx(26.3, abs=5 * 0.45)
    assert figures["ais_acceptance"].mean == pytest.approx(0.68, abs=5 * 0.009)
    counts = {"negative_elbo": TEST, "nll": 22, "effective_sample_size": 22, "nll_encoder": 20, "nll_ais": 12}
    counts |= {"ais_effective_sample_size": 12, "ais_acceptance": 12}
    for name, count in counts.items():
        assert figures[name].count == count
    # The NLLs of images differ by 2 nats, so that their spread is that of the exact ones to 1 %: 6 of these.
    for name, exact in (("negative_elbo", nll), ("nll", nll[:22]), ("nll_encoder", nll[:20]), ("nll_ais", nll[:12])):
        assert figures[name].standard_error == pytest.approx(figure_of(exact.tolist()).standard_error, rel=0.06)
        per_dim = figures[f"{name}_per_dim"]
        assert per_dim.mean == pytest.approx(figures[name].mean / DIMENSIONS)
        standard_error = figures[name].standard_error
        assert standard_error is not None
        assert per_dim.standard_error == pytest.approx(standard_error / DIMENSIONS)
        assert per_dim.count == figures[name].count
    assert len(figures) == 11
    kept = figures["nll"].values
    assert kept is not None
    assert kept == pytest.approx(nll[:22].tolist(), abs=5 * 0.0011 * 22**0.5)


def test_more_images_than_there_are_means_all(linear: Linear) -> None:
    settings: dict = {"importance": {"samples": 2, "images": 1000}, "annealing": {"temperatures": 2, "chains": 1}}
    figures = measure(linear.run, **settings)
    assert {figures[name].count for name in ("negative_elbo", "nll_encoder", "nll_ais")} == {TEST}
    assert measure(linear.run, split="validation", **settings)["nll_ais"].count == VALIDATION


def test_the_same_seed_gives_the_same_figures_whatever_else_is_measured(linear: Linear) -> None:
    parts = {
        "evidence": {"samples": 20, "images": 4},
        "importance": {"samples": 5, "images": 3},
        "annealing": {"temperatures": 5, "chains": 2, "images": 11},
    }
    together = measure(linear.run, **parts, seed=1)
    assert measure(linear.run, **parts, seed=1) == together
    for name, part in parts.items():
        alone = measure(linear.run, **{name: part}, seed=1)
        assert alone == {key: together[key] for key in alone}
    assert measure(linear.run, seed=1)["negative_elbo"] == together["negative_elbo"]
    for name, figure in measure(linear.run, **parts, seed=2).items():
        assert figure.mean != together[name].mean


@pytest.mark.claim("image-figures")
def test_an_image_s_noise_is_its_own(linear: Linear) -> None:
    x = linear.x[:2]
    expected = [-linear.run.model.log_likelihood(x[i : i + 1], 5, generator(3, "nll", i)).item() for i in range(2)]
    for count in (1, 2):
        figure = measure(linear.run, importance={"samples": 5, "images": count}, seed=3)["nll_encoder"]
        assert figure.mean == pytest.approx(sum(expected[:count]) / count, rel=1e-6)
        assert (figure.standard_error is None) == (count == 1)


def test_figure_by_hand() -> None:
    figure = figure_of([1.0, 2.0, 3.0, 4.0])
    assert tuple(figure) == (2.5, pytest.approx((5 / 3) ** 0.5 / 2), 4, None)
    assert figure_of([1.0, 2.0], keep=True).values == (1.0, 2.0)
    assert figure_of([7.0]) == (7.0, None, 1, None)


class Known(LatentVariableModel):
    """ELBO of an image: minus the sum of its pixels, plus ``noise`` times a normal number."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__(decoder=nn.Linear(2, 784), likelihood=Bernoulli(), latent_dim=2)
        self.noise = noise

    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        raise AssertionError

    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return -x.flatten(1).sum(1) + self.noise * torch.randn(len(x), generator=generator)

    def log_weights(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.elbo(x, generator)

    def _draw_posterior(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        raise AssertionError

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(z)).unflatten(1, (1, 28, 28))


@pytest.fixture
def write(tmp_path: Path, write_images: Callable[..., Path]) -> Callable[..., Path]:
    """``write(shape, seed, train=..., valid=..., test=...)``: random images, in place of those written before."""
    return lambda shape=SHAPE, **options: write_images(tmp_path / "made_up.npz", shape, **options)


@pytest.mark.claim("image-figures")
@pytest.mark.parametrize("binarization", ["none", "dynamic"])
@pytest.mark.parametrize("split", ["test", "validation"])
def test_every_image_counts_once_and_draws_are_no_images(
    write: Callable[..., Path], binarization: str, split: str
) -> None:
    path = write(train=2, valid=30, test=2 * images.ELBO_BATCH + 5)
    run = make_run(Known(), path, binarization=binarization)
    assert run.config.images is not None
    ready = model_images(load_splits(run.config.images), binarization=run.config.images.binarization)
    chosen = ready.test if split == "test" else ready.valid
    assert chosen is not None
    sums = chosen.batch(slice(None)).flatten(1).double().sum(1)
    figure = measure(run, split=split, elbo_draws=4)["negative_elbo"]
    assert figure == (pytest.approx(sums.mean()), pytest.approx(sums.std() / math.sqrt(len(sums))), len(sums), None)


def test_draws_are_averaged(write: Callable[..., Path]) -> None:
    """Noise of 100 on sums that differ by about 1: the error over 400 images is 100 / sqrt(draws) / 20."""
    run = make_run(Known(noise=100.0), write(train=2, valid=2, test=400))
    for draws in (1, 25):
        error = measure(run, elbo_draws=draws)["negative_elbo"].standard_error
        # The relative error of a standard deviation of 400 numbers is 3.5 %: 5 of them.
        assert error == pytest.approx(5 / math.sqrt(draws), rel=0.18)


def test_each_batch_has_noise_of_its_own(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound and the annealed NLL of two images, one at a time, are random numbers: not the same one twice."""
    run = make_run(Known(), write(train=2, valid=2, test=2))

    def annealed(model: LatentVariableModel, x: Tensor, noise: torch.Generator, **_: Any) -> DecoderLikelihood:
        drawn = torch.randn(1, generator=noise)
        return DecoderLikelihood(drawn, drawn, drawn, num_gradients=0)

    monkeypatch.setattr(images, "ELBO_BATCH", 1)
    monkeypatch.setitem(images.ANNEALING_GROUP, "cpu", 1)
    monkeypatch.setattr(run.model, "elbo", lambda x, noise: torch.randn(len(x), generator=noise))
    monkeypatch.setattr("medlangevin.evaluation.decoder_likelihood.decoder_log_likelihood", annealed)
    figures = measure(run, elbo_draws=1, annealing={"temperatures": 2, "chains": 1})
    for name in ("negative_elbo", "nll_ais"):
        standard_error = figures[name].standard_error
        assert standard_error is not None
        assert standard_error > 0


class Sorter:
    """Gives generated image k the class k mod 10, for certain; features: two pixels."""

    def probabilities(self, x: Tensor) -> Tensor:
        return torch.eye(10, dtype=torch.float64)[torch.arange(len(x)) % 10]

    def features(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        assert 0 <= x.min() <= x.max() <= 1
        return x.flatten(1)[:, [0, 400]]


def test_generated_digits_are_judged_against_grey_mnist(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write((1, 28, 28), train=5, valid=5, test=50)
    run = make_run(Known(), path, binarization="dynamic", root=str(tmp_path))
    assert run.config.images is not None
    mnist = load_splits(run.config.images)
    calls: list[tuple[Any, ...]] = []

    def recorded(answer: Any) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            calls.append(arguments)
            return answer

        return called

    monkeypatch.setattr(digits, "load_images", recorded(mnist))
    monkeypatch.setattr(digits, "load_or_train", recorded(Sorter()))
    settings = ImageEvaluation.model_validate({"inception": {"samples": 200}})
    figures = evaluate_images(run, settings, seed=4, cache=tmp_path / "cache")
    assert calls == [("mnist", tmp_path), (tmp_path / "cache", tmp_path)]
    # Sure of every image and all classes alike in each of ten parts: the highest score, without spread.
    assert tuple(figures["inception_score"]) == (pytest.approx(10), pytest.approx(0, abs=1e-9), 200, None)
    generated = run.model.sample(200, generator(4, "generated"))
    grey = mnist.split("test").float() / 255
    expected = frechet_distance(Sorter().features(generated), Sorter().features(grey))
    assert tuple(figures["fid"]) == (pytest.approx(expected), None, 200, None)
    assert figures["negative_elbo"] == measure(run, seed=4)["negative_elbo"]


def test_the_error_of_the_inception_score_is_that_of_the_mean_of_ten_parts(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(Known(), write((1, 28, 28), train=5, valid=5, test=5))
    splits = load_splits(run.config.images)  # type: ignore[arg-type]
    scores = torch.tensor([1.0] * 5 + [2.0] * 5)  # a part of one class scores 1, of two classes 2
    classes = torch.cat([torch.arange(10) % int(score) for score in scores])
    sorter = Sorter()
    sorter.probabilities = lambda x: torch.eye(10, dtype=torch.float64)[classes]  # type: ignore[method-assign]
    monkeypatch.setattr(digits, "load_images", lambda *_: splits)
    monkeypatch.setattr(digits, "load_or_train", lambda *_: sorter)
    figure = measure(run, inception={"samples": 100})["inception_score"]
    assert figure.mean == pytest.approx(1.5)
    assert figure.standard_error == pytest.approx(scores.std().item() / math.sqrt(10))


def refused(run: Run, words: str, **settings: Any) -> None:
    with pytest.raises(MedlangevinError, match=words) as caught:
        measure(run, **settings)
    assert "\n" not in str(caught.value)


def test_other_images_than_those_of_the_training_are_refused(write: Callable[..., Path]) -> None:
    run = make_run(Known(), write(train=2, valid=2, test=3))
    assert measure(run)["negative_elbo"].count == 3
    write(train=2, valid=2, test=3, seed=1)
    refused(run, r"are not those that run .* was trained on \(sha256 in data.json differs\)")
    refused(replace(run, data={}), "sha256")


def test_splits_that_would_mislead_or_are_missing_are_refused(write: Callable[..., Path]) -> None:
    path = write(train=2, valid=2)
    refused(make_run(Known(), path), "holds no test images")
    refused(make_run(Known(), path, train_on="all"), "trained on the validation images too", split="validation")
    of_crops = make_run(Known(), path)
    crops = of_crops.config.model_copy(update={"images": None})
    refused(replace(of_crops, config=crops), "trained on crops")


def test_scores_of_digits_are_refused_for_other_images_before_anything_is_measured(write: Callable[..., Path]) -> None:
    run = make_run(Known(noise=math.nan), write(train=2, valid=2, test=3))
    refused(run, "digits of 1 x 28 x 28; .* images of 1 x 3 x 4", inception={"samples": 10})
    with pytest.raises(ValidationError, match="greater than or equal to 10"):
        ImageEvaluation.model_validate({"inception": {"samples": 9}})


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_figures_that_are_not_finite_are_refused(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    run = make_run(Known(), write(train=2, valid=2, test=3))
    monkeypatch.setattr(run.model, "elbo", lambda x, generator: torch.full((len(x),), value))
    refused(run, "negative_elbo is NaN or infinite")
