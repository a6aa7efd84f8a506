"""Planted copies are flagged, fresh draws are not: on vectors with a known law, and on a run's own files."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter, shift

from medlangevin.cli.main import main
from medlangevin.config import parse_config
from medlangevin.datasets.datalist import Ear
from medlangevin.evaluation.memorisation import Neighbours, _result, audit, copying_test, nearest, p_values
from medlangevin.reports.montage import draw_pairs
from medlangevin.runs.load import load_run
from medlangevin.shape.volumes import Volume
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.nifti import read_volume, write_volume
from medlangevin.training.train import train

SHAPE = (16, 14, 12)


def scores(queries, training):
    return nearest(queries, ((vector, str(number)) for number, vector in enumerate(training))).score


def test_the_neighbours_are_those_of_a_search_by_hand():
    random = np.random.default_rng(0)
    queries, training = random.standard_normal((5, 3)), random.standard_normal((20, 3))
    people = [str(number // 2) for number in range(20)]  # two ears each
    found = nearest(queries, zip(training, people, strict=True))
    distance = np.sqrt(((queries[:, None] - training) ** 2).mean(-1))
    for row in range(5):
        first = distance[row].argmin()
        others = [number for number in range(20) if people[number] != people[first]]
        assert found.position[row] == first
        np.testing.assert_allclose(found.distance[row], distance[row, first])
        np.testing.assert_allclose(found.other[row], distance[row, others].min())


@pytest.mark.slow
def test_fresh_draws_are_flagged_as_rarely_as_stated():
    """In 2,000 cohorts a fresh draw has the lowest of 20 scores with probability 1/20.

    Standard error 0.0049; 5 of them: a false alarm in 2e6. Copies with noise of a tenth are flagged always.
    """
    random = np.random.default_rng(1)
    cohorts, held = 2000, 19
    flags = 0
    for _ in range(cohorts):
        training, real = random.standard_normal((15, 6)), random.standard_normal((held, 6))
        fresh = random.standard_normal((1, 6))
        flags += (p_values(scores(fresh, training), scores(real, training)) <= 1 / (held + 1) + 1e-9).sum()
    rate = 1 / (held + 1)
    assert abs(flags / cohorts - rate) < 5 * math.sqrt(rate * (1 - rate) / cohorts)
    copies = training + 0.01 * random.standard_normal(training.shape)
    assert (p_values(scores(copies, training), scores(real, training)) <= 1 / (held + 1) + 1e-9).all()


def test_the_test_of_all_ears_together_sees_copies_and_spares_fresh_draws():
    """z of fresh draws is normal: beyond -5 once in 3e6."""
    random = np.random.default_rng(2)
    training, real, fresh = (random.standard_normal((60, 6)) for _ in range(3))
    assert copying_test(scores(fresh, training), scores(real, training))["z"] > -5
    assert copying_test(scores(training + 0.05, training), scores(real, training))["z"] < -5


def test_a_score_that_a_held_out_ear_has_too_is_no_copy_s():
    """Of four held-out scores one lies below 0.5 and one equals it: (1 + 2) / 5."""
    assert p_values(np.array([0.5, 0.1, 0.9]), np.array([0.5, 0.3, 0.7, 0.8])) == pytest.approx([3 / 5, 1 / 5, 1])


def test_the_test_of_all_ears_together_is_one_sided():
    """All three synthetic scores lie below the three held-out ones: one of the 20 orders, U = 0 of mean 9 / 2 and
    variance 9 * 7 / 12. The other way round, all orders are as extreme."""
    low, high = np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.6])
    z = -4.5 / math.sqrt(63 / 12)
    assert copying_test(low, high) == pytest.approx({"z": z, "p": 1 / 20})
    assert copying_test(high, low) == pytest.approx({"z": -z, "p": 1})


def test_an_ear_is_flagged_in_both_spaces_alone():
    """Nearest over second nearest: the lowest of all in both spaces, in images alone and in latents alone."""

    def found(image: list[float], latent: list[float]) -> dict[str, Neighbours]:
        zero = np.zeros(len(image), dtype=np.int64)
        scores = {"image": np.array(image), "latent": np.array(latent)}
        return {space: Neighbours(score, zero, np.ones(len(image))) for space, score in scores.items()}

    volumes = [Volume(name, Path(name), name) for name in ("both", "images", "latents")]
    groups = {"synthetic": found([0.1, 0.1, 0.9], [0.1, 0.9, 0.1]), "held_out": found([0.5, 0.6], [0.6, 0.5])}
    assert _result(volumes, [Ear(Path("ear.nii"), "someone", "R")], groups)["copies"] == ["both"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, write_crops: Callable[..., list[Path]]) -> Path:
    """Smooth random crops, 8 to train on and 12 held out, and a run of two epochs on them."""
    root = tmp_path_factory.mktemp("audit")
    random = np.random.default_rng(3)
    crops = [crop(random) for _ in range(20)]
    write_crops(root, training=crops[:8], validation=crops[8:14], test=crops[14:])
    config = {
        "name": "audited",
        "output_dir": str(root / "runs"),
        "data": {"root": str(root)},
        "model": {"kind": "vae", "latent_dim": 6, "network": {"channels": [4], "hidden": 16}},
        "training": {"epochs": 2, "batch_size": 4, "accelerator": "cpu"},
    }
    train(parse_config(config, source="test"))
    return root


def crop(random: np.random.Generator) -> np.ndarray:
    return 500 + 4000 * gaussian_filter(random.standard_normal(SHAPE), 2)


@pytest.mark.slow
def test_planted_copies_are_flagged_and_fresh_ears_are_not(cohort: Path, tmp_path: Path):
    """Copies with noise of 20 HU or moved by 0.3 voxels. Of 10 fresh ears at most 1/13 is flagged on average: more than
    5 of them once in 1e4 cohorts."""
    random = np.random.default_rng(4)
    copied = sorted(cohort.glob("*_ct.nii.gz"))[:4]
    for number, path in enumerate(copied):
        hu, affine = read_volume(path)
        near = hu + random.normal(0, 20, SHAPE) if number < 2 else shift(hu, (0.3, 0, 0), order=1, mode="nearest")
        write_volume(tmp_path / f"s/copy-{number}.nii.gz", near, affine)
    for number in range(10):
        write_volume(tmp_path / f"s/fresh-{number}.nii.gz", crop(random), affine)
    result = audit(cohort / "runs/audited", tmp_path / "s", cohort, tmp_path / "out")
    assert {f"copy-{number}" for number in range(4)} <= set(result["copies"])
    assert len(result["copies"]) - 4 <= 5
    assert [row["image_nearest"] for row in result["ears"][:4]] == [path.name for path in copied]
    # Noise of 20 HU, averaged over 8 voxels; 336 of them: a relative standard error of 4 %, 5 of these.
    assert [row["image_distance"] for row in result["ears"][:2]] == pytest.approx([20 / math.sqrt(8)] * 2, rel=0.2)
    assert result["false_flag_rate_at_most"] == pytest.approx(1 / 13)
    lowest = np.full(14, True)
    for space, held_out in result["held_out_scores"].items():
        found = np.array([row[f"{space}_score"] for row in result["ears"]])
        p = [row[f"{space}_p"] for row in result["ears"]]
        assert p == pytest.approx(p_values(found, np.array(held_out)))
        assert result["copying_test"][space] == copying_test(found, np.array(held_out))
        lowest &= np.isclose(p, 1 / 13)
    assert [row["copy"] for row in result["ears"]] == lowest.tolist()
    draw_pairs(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "audit.json", "audit.tsv", "nearest_pairs.png",
    ]  # fmt: skip


@pytest.mark.parametrize("refine", [True, False])
def test_latents_are_found_at_the_ear_or_are_the_encoder_s(cohort: Path, tmp_path: Path, refine: bool):
    """The distance in latents to the nearest training ear, of a copy with much noise; images do not depend on it."""
    first = sorted(cohort.glob("*_ct.nii.gz"))[0]
    hu, affine = read_volume(first)
    write_volume(tmp_path / "s/noisy.nii.gz", hu + np.random.default_rng(5).normal(0, 200, SHAPE), affine)
    option = [] if refine else ["--no-refine"]
    command = [
        "audit",
        str(cohort / "runs/audited"),
        "--synthetic",
        str(tmp_path / "s"),
        "--out",
        str(tmp_path / "out"),
    ]
    called = CliRunner().invoke(main, command + option)
    assert called.exit_code == 0, called.output
    (row,) = json.loads((tmp_path / "out" / "audit.json").read_text())["ears"]
    run = load_run(cohort / "runs/audited", refine=refine)
    latent = run.encode(tmp_path / "s/noisy.nii.gz")
    distances = [
        (run.encode(ear.image) - latent).double().square().mean().sqrt().item() for ear in run.crops(None).training
    ]
    assert row["latent_distance"] == pytest.approx(min(distances), rel=1e-5)
    other = load_run(cohort / "runs/audited", refine=not refine)
    assert (other.encode(first) - run.encode(first)).norm() > 0.1
    assert row["image_nearest"] == first.name


def test_without_held_out_ears_it_says_so(cohort: Path, tmp_path: Path):
    listing = json.loads((cohort / "dataset.json").read_text())
    for entry in listing["training"]:
        entry["image"] = str(cohort / entry["image"])
    listing["training"] = [entry | {"subject": str(number % 2)} for number, entry in enumerate(listing["training"])]
    (tmp_path / "dataset.json").write_text(json.dumps(listing | {"validation": [], "test": []}))
    with pytest.raises(MedlangevinError, match="nothing to compare with"):
        audit(cohort / "runs/audited", cohort, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_left_alone(cohort: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MedlangevinError, match="did not write"):
        audit(cohort / "runs/audited", cohort, cohort, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
