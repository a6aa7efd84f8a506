"""Synthetic volumes: reproducible, in HU on the right grid, and marked."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medlangevin.errors import MedlangevinError
from medlangevin.evaluation.generation import draw_volume, generate, write_volume
from medlangevin.training.run import load_run

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
    latents = torch.stack([draw_volume(loaded, index, seed=0, noise=False)[1] for index in range(1000)])
    # 3 means and 3 variances of 1,000 draws: standard errors 0.032 and 0.045; at 5 of them a false alarm in 3e5.
    assert latents.mean(0).abs().max() < 5 * 0.032
    assert (latents.var(0) - 1).abs().max() < 5 * 0.045


def test_noise_has_the_learned_scale(run: Path) -> None:
    loaded = load_run(run)
    pairs = [[draw_volume(loaded, index, seed=0, noise=noise)[0] for noise in (True, False)] for index in range(50)]
    differences = np.stack([noisy - clean for noisy, clean in pairs])
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
