"""A trained run from Python: the same numbers as the command line's, in HU, on the run's grid."""

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medlangevin import MedlangevinError, generate, load_run, measure, read_volume
from medlangevin.inference import latents as sources
from medlangevin.models.laplace import find_mode, laplace
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs/python.md"


@pytest.fixture(scope="module")
def trained(run: Path) -> Run:
    return load_run(run)


def test_the_example_of_the_documentation_runs(
    run: Path, ear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    assert len(example.splitlines()) <= 25
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/cochlea_qsl").symlink_to(run)
    (tmp_path / "ear_ct.nii.gz").symlink_to(ear)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, DOCUMENTATION.name, "exec"), {})
    assert capsys.readouterr().out.startswith("qsl_vae (8, 6, 5) (-1000.0, 2500.0) 3\n")
    assert b"SYNTHETIC" in nibabel.load("synthetic_ct.nii.gz").header["descrip"].item()


@pytest.mark.parametrize("noise", [False, True])
def test_samples_are_the_volumes_of_generate(trained: Run, noise: bool, tmp_path: Path) -> None:
    paths = generate(trained.directory, tmp_path, count=2, seed=5, noise=noise)
    ears = trained.sample(2, seed=5, noise=noise)
    assert ears.dtype == np.float32
    for ear, path in zip(ears, paths, strict=True):
        hu, affine = read_volume(path)
        np.testing.assert_array_equal(np.rint(ear), hu)
        np.testing.assert_allclose(affine, trained.affine, atol=1e-6)


def test_latents_and_reconstruction_are_those_that_volumes_like_an_ear_have(trained: Run, ear: Path) -> None:
    latent = trained.encode(ear)
    torch.testing.assert_close(latent, sources.like(trained, ear, strength=0.0, count=1, seed=0).at(1))
    full = sources.like(trained, ear, strength=1.0, count=2, seed=3)
    torch.testing.assert_close(trained.posterior_sample(ear, 2, seed=3), torch.stack([full.at(1), full.at(2)]))
    with torch.no_grad():
        expected = trained.model.decode(latent[None])[0, 0].numpy() * 3500 - 1000
    np.testing.assert_allclose(trained.reconstruct(ear), expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(trained.decode(torch.stack([latent, latent]))[1], trained.reconstruct(ear))


def test_the_latent_of_an_ear_is_found_at_the_ear_or_is_the_encoder_s(run: Path, trained: Run, ear: Path) -> None:
    x = trained.image(ear)
    refined, encoded = trained.encode(ear), load_run(run, refine=False).encode(ear)
    torch.testing.assert_close(refined, find_mode(trained.model, x)[0], rtol=0, atol=0)
    with torch.no_grad():
        energies = trained.model.potential(x.expand(2, -1, -1, -1, -1))(torch.stack([refined, encoded]))
    assert energies[0] < energies[1]
    # The encoder's: 64 draws, the same at each call, and so are mean and deviations of draws of it; 5 standard errors.
    plain = load_run(run, refine=False)
    torch.testing.assert_close(plain.encode(ear), encoded, rtol=0, atol=0)
    own = plain.model.posterior_sample(x, 4000, generator(1, "test"))[:, 0]
    assert ((encoded - own.mean(0)).abs() < 5 * own.std(0) / 8).all()
    drawn = plain.posterior_sample(ear, 400)
    assert ((drawn.mean(0) - encoded).abs() < 5 * own.std(0) * (1 / 400) ** 0.5 * 1.5).all()
    assert ((drawn.std(0) / own.std(0) - 1).abs() < 5 * (1 / 128 + 1 / 800) ** 0.5).all()


def test_draws_of_an_ear_s_posterior_have_laplace_s_covariance(trained: Run, ear: Path) -> None:
    """4,000 draws; 3 means and 6 covariances within 5 standard errors. Draw n depends on seed and n alone."""
    mean, factor = (values[0].double() for values in laplace(trained.model, trained.image(ear)))
    drawn = trained.posterior_sample(ear, 4000, seed=1)
    torch.testing.assert_close(trained.posterior_sample(ear, 3, seed=1), drawn[:3], rtol=0, atol=0)
    assert not torch.equal(trained.posterior_sample(ear, 1, seed=2)[0], drawn[0])
    drawn, covariance = drawn.double(), factor @ factor.T
    scale = covariance.diag()
    assert ((drawn.mean(0) - mean).abs() < 5 * (scale / 4000).sqrt()).all()
    error = ((covariance.square() + torch.outer(scale, scale)) / 4000).sqrt()
    assert ((drawn.T.cov() - covariance).abs() < 5 * error).all()


def test_an_ear_may_be_given_as_its_hu(trained: Run, ear: Path) -> None:
    hu, _ = read_volume(ear)
    torch.testing.assert_close(trained.encode(hu), trained.encode(ear), rtol=0, atol=0)
    assert (trained.image(hu).min() >= 0, trained.image(hu).shape) == (True, (1, 1, 8, 6, 5))
    with pytest.raises(MedlangevinError, match=r"an ear of shape \(8, 6\); the crops of run known have \(8, 6, 5\)"):
        trained.encode(hu[..., 0])


def test_wrong_use_is_one_line(trained: Run, ear: Path) -> None:
    for draw in (lambda: trained.sample(0), lambda: trained.posterior_sample(ear, 0)):
        with pytest.raises(MedlangevinError, match="count 0: at least 1"):
            draw()
    with pytest.raises(MedlangevinError, match=r"latents of shape \(3,\); \(n, 3\) is needed, z\[None\] for one"):
        trained.decode(trained.encode(ear))


def test_a_saved_volume_reads_back_on_the_grid(trained: Run, tmp_path: Path) -> None:
    (ear,) = trained.sample(1)
    trained.save(ear, tmp_path / "new" / "ear.nii.gz")
    hu, affine = read_volume(tmp_path / "new" / "ear.nii.gz")
    np.testing.assert_array_equal(hu, np.rint(ear))
    np.testing.assert_allclose(affine, trained.affine, atol=1e-6)
    assert trained.measure(ear).note == measure(ear, trained.affine).note != ""


def test_the_checkpoint_is_the_one_asked_for_and_the_model_is_in_evaluation_mode(run: Path) -> None:
    best, last = load_run(run), load_run(run, checkpoint="last")
    assert not best.model.training
    assert last.state.epoch == 3
    with pytest.raises(MedlangevinError, match="does not exist"):
        load_run(run / "none")
