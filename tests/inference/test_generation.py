"""Synthetic volumes: reproducible, in HU on the right grid, and marked."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from medlangevin.inference import latents as sources
from medlangevin.inference.ear_posteriors import KEPT
from medlangevin.inference.generation import generate
from medlangevin.likelihoods import Gaussian
from medlangevin.models.laplace import find_mode, laplace
from medlangevin.models.vae import VAE
from medlangevin.runs.load import load_run
from medlangevin.runs.randomness import generator
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.nifti import write_volume

AFFINE = np.array([[-0.2, 0, 0, 6.3], [0, -0.2, 0, 4.4], [0, 0, 0.2, -4.5], [0, 0, 0, 1]])


def test_volumes_are_int16_on_the_run_s_grid_and_say_synthetic(run: Path, tmp_path: Path) -> None:
    paths = generate(run, tmp_path / "out", count=2, seed=5)
    assert [path.name for path in paths] == ["synthetic-0001_ct.nii.gz", "synthetic-0002_ct.nii.gz"]
    image = nibabel.load(paths[1])
    assert image.get_data_dtype() == np.int16
    assert image.shape == (8, 6, 5)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(image.get_qform(), AFFINE, atol=1e-6)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert b"SYNTHETIC" in image.header["descrip"].item()
    sidecar = json.loads((tmp_path / "out/synthetic-0002_ct.json").read_text())
    assert sidecar["SYNTHETIC"] is True
    assert (sidecar["run"], sidecar["model"], sidecar["seed"], sidecar["index"]) == ("known", "qsl_vae", 5, 2)
    # The volume is what the decoder makes of the latent vector in the sidecar, in HU of the window -1000..2500.
    model = load_run(run).model
    with torch.no_grad():
        expected = model.decode(torch.tensor([sidecar["latent"]]))[0, 0].numpy() * 3500 - 1000
    np.testing.assert_allclose(np.asarray(image.dataobj), expected, atol=0.51)
    assert expected.std() > 1


def test_volume_depends_on_seed_and_number_alone(run: Path, tmp_path: Path) -> None:
    few = generate(run, tmp_path / "few", count=2, seed=1, noise=True)
    many = generate(run, tmp_path / "many", count=4, seed=1, noise=True)
    other = generate(run, tmp_path / "other", count=2, seed=2, noise=True)
    volumes = [[np.asarray(nibabel.load(path).dataobj) for path in paths] for paths in (few, many, other)]
    for number in range(2):
        np.testing.assert_array_equal(volumes[0][number], volumes[1][number])
    assert not np.array_equal(volumes[0][0], volumes[0][1])
    assert not np.array_equal(volumes[0][0], volumes[2][0])


def test_latent_vectors_follow_the_prior(run: Path) -> None:
    loaded = load_run(run)
    latents = torch.stack([sources.from_prior(loaded, count=1000, seed=0).at(index) for index in range(1000)])
    # 3 means and 3 variances of 1,000 draws: standard errors 0.032 and 0.045; at 5 of them a false alarm in 3e5.
    assert latents.mean(0).abs().max() < 5 * 0.032
    assert (latents.var(0) - 1).abs().max() < 5 * 0.045


def test_fitted_latents_have_mean_and_covariance_of_the_training_ears(
    run: Path, ears: list[Path], tmp_path: Path
) -> None:
    """4,000 draws, each mean and covariance within 5 standard errors: false alarm once in 200,000 seeds."""
    loaded = load_run(run)
    means, factors = (
        values.double() for values in laplace(loaded.model, torch.cat([loaded.image(ear) for ear in ears[:6]]))
    )
    latents = sources.fitted(loaded, count=4000, seed=1)
    found = torch.stack([latents.at(number) for number in range(1, 4001)]).double()
    mean, covariance = means.mean(0), means.T.cov(correction=0) + (factors @ factors.mT).mean(0)
    scale = covariance.diag()
    assert ((found.mean(0) - mean).abs() < 5 * (scale / 4000).sqrt()).all()
    error = ((covariance.square() + torch.outer(scale, scale)) / 4000).sqrt()
    assert ((found.T.cov() - covariance).abs() < 5 * error).all()

    generate(run, tmp_path / "out", count=2, seed=1, fitted=True)
    sidecar = json.loads((tmp_path / "out" / "synthetic-0002_ct.json").read_text())
    assert (sidecar["mode"], sidecar["refined"]) == ("fitted", True)
    np.testing.assert_allclose(sidecar["latent"], latents.at(2), rtol=1e-6)


class VoxelEncoder(torch.nn.Module):
    """q(z | x) = N(10 times the first three voxels, diag(0.5, 1, 2)^2)."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = 10 * x.flatten(1)[:, :3]
        return mean, torch.tensor([0.5, 1.0, 2.0]).expand_as(mean)


def test_without_refinement_fitted_latents_spread_as_the_encoder_s(run: Path, ears: list[Path]) -> None:
    """The covariance is that of the ears' means plus that of one ear's posterior, both known; 5 standard errors."""
    loaded = load_run(run, refine=False)
    model = VAE(encoder=VoxelEncoder(), decoder=loaded.model.decoder, likelihood=Gaussian(), latent_dim=3)
    means = torch.cat([model.encoder(loaded.image(ear))[0] for ear in ears[:6]]).double()
    between, within = means.T.cov(correction=0), torch.tensor([0.25, 1.0, 4.0], dtype=torch.float64).diag()
    assert 0.3 < between.trace() / within.trace() < 3
    covariance = between + within

    latents = sources.fitted(dataclasses.replace(loaded, model=model), count=4000, seed=1)
    found = torch.stack([latents.at(number) for number in range(1, 4001)]).double()
    # Of 4,000 draws from a Gaussian that was fitted to 64 draws of each of six ears.
    share = 1 / 4000 + 1 / (6 * 64)
    scale = covariance.diag()
    assert ((found.mean(0) - means.mean(0)).abs() < 5 * (scale * share).sqrt()).all()
    error = ((covariance.square() + torch.outer(scale, scale)) * share).sqrt()
    assert ((found.T.cov() - covariance).abs() < 5 * error).all()


def test_noise_has_the_learned_scale(run: Path) -> None:
    loaded = load_run(run)
    at = sources.from_prior(loaded, count=50, seed=0).at
    pairs = [[loaded.draw(at(index), index, seed=0, noise=noise) for noise in (True, False)] for index in range(50)]
    differences = np.stack([noisy - clean for noisy, clean in pairs])
    assert isinstance(loaded.model.likelihood, Gaussian)
    scale = loaded.model.likelihood.scale.item() * 3500
    # 12,000 numbers: the relative standard error of their deviation is 1 / sqrt(24,000) = 0.0065; 5 of them.
    assert abs(differences.std() / scale - 1) < 5 * 0.0065
    assert abs(differences.mean() / scale) < 5 * 0.0092


def test_second_call_replaces_the_first_one_s_volumes_and_keeps_other_files(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    generate(run, out, count=3)
    (out / "shape.tsv").write_text("mine")
    generate(run, out, count=1)
    assert sorted(path.name for path in out.iterdir()) == [
        "generation.json", "shape.tsv", "synthetic-0001_ct.json", "synthetic-0001_ct.nii.gz",
    ]  # fmt: skip


def test_replacing_volumes_of_other_settings_is_said(run: Path, tmp_path: Path, logged: Callable[[], str]) -> None:
    for count, seed in ((2, 0), (3, 0), (3, 0)):
        generate(run, tmp_path / "out", count=count, seed=seed)
        assert "replaced" not in logged()
    generate(run, tmp_path / "out", count=2, seed=1)
    told = logged()
    assert f"3 volumes in {tmp_path / 'out'}, drawn with other settings, are replaced\n" in told


def test_folder_with_other_files_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(MedlangevinError, match="holds files that generate did not write"):
        generate(run, tmp_path, count=1)
    (tmp_path / "generation.json").write_text("{}")
    with pytest.raises(MedlangevinError, match="holds files that generate did not write"):
        generate(run, tmp_path, count=1)
    with pytest.raises(MedlangevinError, match="is a file"):
        generate(run, tmp_path / "mine.txt", count=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generation.json", "mine.txt"]


def test_bad_run_or_count_writes_nothing(run: Path, tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match="does not exist"):
        generate(tmp_path / "none", tmp_path / "out", count=1)
    with pytest.raises(MedlangevinError, match="at least 1"):
        generate(run, tmp_path / "out", count=0)
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_int16_are_clipped_not_wrapped(tmp_path: Path) -> None:
    hu = np.array([[[-40000.0, -0.6, 0.4, 40000.0]]])
    write_volume(tmp_path / "a.nii.gz", hu, AFFINE)
    assert np.asarray(nibabel.load(tmp_path / "a.nii.gz").dataobj).ravel().tolist() == [-32768, -1, 0, 32767]


def test_strength_zero_is_the_reconstruction_at_the_mean_and_one_is_a_posterior_draw(run: Path, ear: Path) -> None:
    loaded = load_run(run)
    x = loaded.image(ear)
    at_mean, half, full = (sources.like(loaded, ear, strength=s, count=2, seed=3) for s in (0.0, 0.5, 1.0))
    mean = find_mode(loaded.model, x)[0]
    assert torch.equal(at_mean.at(1), mean)
    assert torch.equal(at_mean.at(2), mean)
    torch.testing.assert_close(full.at(2), laplace(loaded.model, x).sample(generator(3, "posterior", 2))[0])
    torch.testing.assert_close(half.at(2), 0.5 * (mean + full.at(2)))


def test_draws_like_an_ear_have_the_covariance_of_its_posterior_times_the_strength_squared(
    run: Path, ear: Path
) -> None:
    """4,000 draws; 3 means and 6 covariances within 5 standard errors."""
    loaded = load_run(run)
    mean, factor = (values[0].double() for values in laplace(loaded.model, loaded.image(ear)))
    latents = sources.like(loaded, ear, strength=0.5, count=4000, seed=0)
    found = torch.stack([latents.at(number) for number in range(1, 4001)]).double()
    covariance = factor @ factor.T / 4
    scale = covariance.diag()
    assert ((found.mean(0) - mean).abs() < 5 * (scale / 4000).sqrt()).all()
    error = ((covariance.square() + torch.outer(scale, scale)) / 4000).sqrt()
    assert ((found.T.cov() - covariance).abs() < 5 * error).all()


@pytest.mark.parametrize("source", ["like", "between", "fitted", "traverse"])
def test_without_refinement_the_latents_are_the_encoder_s(
    run: Path, ears: list[Path], tmp_path: Path, source: str
) -> None:
    """The encoder's after three epochs are others; the sidecars say which they are; the run's folder is left alone."""
    choices: dict[str, dict[str, Any]] = {
        "like": {"like": ears[0], "count": 1},
        "between": {"between": (ears[0], ears[1]), "count": 2},
        "fitted": {"fitted": True, "count": 1},
        "traverse": {"traverse": (1, 3)},
    }
    latents = []
    (run / KEPT).unlink(missing_ok=True)
    for refine in (False, True):
        generate(run, tmp_path / str(refine), refine=refine, **choices[source])
        sidecar = json.loads((tmp_path / str(refine) / "synthetic-0001_ct.json").read_text())
        assert sidecar["refined"] is refine
        latents.append(torch.tensor(sidecar["latent"]))
        assert (run / KEPT).exists() == (refine and source in ("fitted", "traverse"))
    assert (latents[0] - latents[1]).norm() > 0.05
    loaded = load_run(run, refine=False)
    if source == "between":
        torch.testing.assert_close(latents[0], loaded.encode(ears[0]))


def test_the_path_between_two_ears_keeps_its_ends_and_its_norm() -> None:
    first, second = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 5.0, 0.0])
    torch.testing.assert_close(sources.spherical(first, second, 0.0), first)
    torch.testing.assert_close(sources.spherical(first, second, 1.0), second, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(sources.spherical(first, second, 0.5), torch.tensor([4.0, 4.0, 0.0]) / 2**0.5)
    torch.testing.assert_close(sources.spherical(first, 2 * first, 0.5), 1.5 * first)


def test_a_traversal_goes_two_deviations_to_either_side_of_the_mean(run: Path) -> None:
    loaded = load_run(run)
    mean, deviations, axes = sources.aggregated_posterior(loaded)
    latents = sources.traverse(loaded, directions=2, steps=3)
    assert latents.count == 6
    torch.testing.assert_close(latents.at(2).double(), mean, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(latents.at(6).double(), mean + 2 * deviations[1] * axes[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(axes @ axes.T, torch.eye(3, dtype=torch.float64))
    assert (deviations.diff() <= 0).all()


def test_an_interrupted_call_goes_on_and_ends_as_if_undisturbed(run: Path, ear: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    generate(run, whole, count=3, like=ear)
    paths = generate(run, cut, count=3, like=ear)
    kept = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    (cut / "synthetic-0003_ct.json").unlink()
    generate(run, cut, count=3, like=ear)
    assert paths[0].stat().st_mtime_ns == kept
    for path in sorted(whole.glob("synthetic-*")):
        if path.suffix == ".json":
            assert path.read_bytes() == (cut / path.name).read_bytes()
        else:
            first, second = (np.asarray(nibabel.load(folder / path.name).dataobj) for folder in (whole, cut))
            np.testing.assert_array_equal(first, second)


def test_an_image_off_the_grid_is_one_line_and_writes_nothing(run: Path, tmp_path: Path) -> None:
    write_volume(tmp_path / "shape.nii.gz", np.zeros((4, 6, 5)), AFFINE)
    write_volume(tmp_path / "place.nii.gz", np.zeros((8, 6, 5)), AFFINE + 0.1)
    with pytest.raises(MedlangevinError, match="has 4 x 6 x 5 voxels"):
        generate(run, tmp_path / "out", count=1, like=tmp_path / "shape.nii.gz")
    with pytest.raises(MedlangevinError, match="another grid"):
        generate(run, tmp_path / "out", count=2, between=(tmp_path / "place.nii.gz",) * 2)
    with pytest.raises(MedlangevinError, match="between 0"):
        generate(run, tmp_path / "out", count=2, like=tmp_path / "place.nii.gz", strength=1.5)
    assert not (tmp_path / "out").exists()
