"""Latents that were found before are not found again; and what they say together, against a mixture's known moments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from medlangevin.datasets.crops import choose_splits
from medlangevin.datasets.datalist import Ear, read_index
from medlangevin.inference import ear_posteriors as module
from medlangevin.inference import latents as sources
from medlangevin.inference.ear_posteriors import KEPT, ear_posteriors
from medlangevin.models import laplace
from medlangevin.models.laplace import NormalPosterior
from medlangevin.runs.load import load_run
from medlangevin.runs.run import Run
from medlangevin.system.files import read_json
from medlangevin.system.nifti import read_volume, write_volume


@pytest.fixture
def own(run: Path) -> Run:
    """The run in a state in which nothing is kept."""
    (run / KEPT).unlink(missing_ok=True)
    return load_run(run)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """``found``: an entry for each latent that is followed down its potential."""
    entries: list[int] = []
    descend = laplace._descend

    def counted(*arguments: Any) -> torch.Tensor:
        entries.append(1)
        return descend(*arguments)

    monkeypatch.setattr(laplace, "_descend", counted)
    return entries


def training_ears(run: Run) -> tuple[Ear, ...]:
    return choose_splits(read_index(run.config.data.root)).training


def require_equal(first: NormalPosterior, second: NormalPosterior) -> None:
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_a_second_call_takes_no_gradient_and_gives_the_same(own: Run, found: list[int]) -> None:
    ears = training_ears(own)
    first = ear_posteriors(own, ears)
    assert len(found) == len(ears) == 6
    x = torch.cat([own.image(ear.image) for ear in ears])
    require_equal(first, laplace.laplace(own.model, x))
    found.clear()
    require_equal(ear_posteriors(load_run(own.directory), ears), first)
    # Another order, and a part.
    part = ear_posteriors(own, ears[::-2])
    assert found == []
    require_equal(part, NormalPosterior(*(values.flip(0)[::2] for values in first)))


def test_other_weights_and_other_crops_are_made_anew(own: Run, found: list[int], tmp_path: Path) -> None:
    ears = training_ears(own)
    before = ear_posteriors(own, ears)
    found.clear()
    changed = load_run(own.directory)
    with torch.no_grad():
        next(changed.model.decoder.parameters()).mul_(1.5)
    after = ear_posteriors(changed, ears)
    assert len(found) == 6
    assert not torch.equal(after.mean, before.mean)
    # What was kept of other weights goes.
    assert len(load_file(own.directory / KEPT)) == 6

    require_equal(ear_posteriors(own, ears), before)
    found.clear()
    hu, affine = read_volume(ears[0].image)
    write_volume(tmp_path / ears[0].image.name, np.rint(hu * 0.9), affine)
    # The same name and person, and other voxels.
    renewed = ear_posteriors(own, (ears[0]._replace(image=tmp_path / ears[0].image.name), *ears[1:]))
    assert len(found) == 1
    assert not torch.equal(renewed.mean[0], before.mean[0])
    assert torch.equal(renewed.mean[1:], before.mean[1:])


@pytest.mark.parametrize("damage", ["cut", "other shape", "NaN"])
def test_a_damaged_file_is_made_anew(own: Run, found: list[int], damage: str) -> None:
    ears = training_ears(own)
    before = ear_posteriors(own, ears)
    kept = own.directory / KEPT
    whole = kept.read_bytes()
    if damage == "cut":
        kept.write_bytes(whole[: len(whole) // 2])
    else:
        rows = load_file(kept)
        spoilt = {key: row[:-1].clone() if damage == "other shape" else row * torch.nan for key, row in rows.items()}
        module.save_file(spoilt, kept)
    found.clear()
    require_equal(ear_posteriors(own, ears), before)
    assert len(found) == 6
    assert kept.stat().st_size == len(whole)


def test_what_was_found_before_an_interruption_is_used(
    own: Run, found: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EARS_A_WRITE", 2)
    posterior = Run.posterior
    left = [5]

    def interrupted(self: Run, x: torch.Tensor) -> NormalPosterior:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return posterior(self, x)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "posterior", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ear_posteriors(own, training_ears(own))
    assert len(found) == 4
    found.clear()
    ears = training_ears(own)
    result = ear_posteriors(own, ears)
    assert len(found) == 2
    require_equal(result, laplace.laplace(own.model, torch.cat([own.image(ear.image) for ear in ears])))


def test_ears_that_are_known_are_not_written_again(own: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ears = training_ears(own)
    monkeypatch.setattr(module, "_EARS_A_WRITE", 2)
    written = []
    write = module._write

    def counted(run: Run, rows: dict[str, torch.Tensor]) -> bool:
        written.append(len(rows))
        return write(run, rows)

    monkeypatch.setattr(module, "_write", counted)
    ear_posteriors(own, ears[2:4])
    assert written == [2]
    ear_posteriors(own, ears)
    assert written == [2, 4, 6]
    ear_posteriors(own, ears)
    assert written == [2, 4, 6]


def test_the_encoder_s_are_not_kept(own: Run, found: list[int]) -> None:
    encoded = ear_posteriors(load_run(own.directory, refine=False), training_ears(own))
    assert found == []
    assert not (own.directory / KEPT).exists()
    refined = ear_posteriors(own, training_ears(own))
    # Nor are those that are kept taken for the encoder's.
    again = ear_posteriors(load_run(own.directory, refine=False), training_ears(own))
    require_equal(again, encoded)
    assert not torch.allclose(refined.mean, encoded.mean, atol=0.01)


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("medlangevin.system.files.tempfile.mkstemp", PermissionError(13, "Permission denied")),
        ("medlangevin.inference.ear_posteriors.save_file", SafetensorError("No space left on device (os error 28)")),
    ],
)
def test_where_they_cannot_be_written_it_works_and_says_so_once(
    own: Run, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str], place: str, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, "_EARS_A_WRITE", 2)
    monkeypatch.setattr(place, refuse)
    ears = training_ears(own)
    result = ear_posteriors(own, ears)
    assert [line[:23] for line in logged().splitlines() if not line.startswith("training ear")] == [
        "latents are not kept fo"
    ]
    assert not (own.directory / KEPT).exists()
    require_equal(result, laplace.laplace(own.model, torch.cat([own.image(ear.image) for ear in ears])))


def test_the_aggregated_posterior_is_the_mixture_s(own: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ears at -3 and 3 along the first axis, and narrow along others: mean 0, variances 9 + 1, 4 and 0.25."""
    means = torch.tensor([[-3.0, 0.0, 1.0], [3.0, 0.0, 1.0]])
    factors = torch.diag_embed(torch.tensor([[1.0, 2.0, 0.5], [1.0, 2.0, 0.5]]))
    monkeypatch.setattr(sources, "ear_posteriors", lambda run, ears: NormalPosterior(means, factors))
    mean, deviations, axes = sources.aggregated_posterior(own)
    torch.testing.assert_close(mean, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(deviations.square(), torch.tensor([10.0, 4.0, 0.25], dtype=torch.float64))
    torch.testing.assert_close(axes, torch.eye(3, dtype=torch.float64))
    # Factors that differ and are not diagonal: the covariance of 400,000 draws, half of each ear; 5 standard errors.
    factors[1] = torch.tensor([[1.0, 0.0, 0.0], [1.5, 1.0, 0.0], [0.0, -1.0, 0.3]])
    found = sources.aggregated_posterior(own)
    covariance = found.axes.T @ found.deviations.square().diag() @ found.axes
    half = (200_000, 3, 3)
    random = torch.Generator().manual_seed(0)
    draws = torch.cat(
        [
            NormalPosterior(m.expand(half[:2]), f.expand(half)).sample(random)
            for m, f in zip(means, factors, strict=True)
        ]
    ).double()
    centred = draws - draws.mean(0)
    products = centred[:, :, None] * centred[:, None, :]
    assert ((products.mean(0) - covariance).abs() < 5 * products.std(0) / len(draws) ** 0.5).all()


def test_kept_latents_hold_no_name(own: Run) -> None:
    ears = training_ears(own)
    ear_posteriors(own, ears)
    content = (own.directory / KEPT).read_bytes()
    assert read_json(own.directory / "data.json")["seen_subjects"]
    for ear in ears:
        assert ear.subject.encode() not in content
