"""Cohorts on disk: DICOM that reads back, truth that fits, the same files each time."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from medlangevin.cli.phantom import phantom
from medlangevin.phantom import cohort
from medlangevin.phantom.cohort import write_cohort, write_ear
from medlangevin.phantom.dicom import HeaderVariant
from medlangevin.phantom.ear import draw_ear, truth
from medlangevin.phantom.frame import apply
from medlangevin.phantom.scan import MIRROR, Geometry, acquire
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def two_ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cohort")
    write_cohort(out, ears=2, seed=3)
    return out


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_number_of_ears_and_workers(two_ears: Path, tmp_path: Path) -> None:
    write_cohort(tmp_path, ears=3, seed=3, workers=2)
    first, second = digests(two_ears), digests(tmp_path)
    assert len(second) > len(first) > 50
    assert {name: second[name] for name in first} == first


def test_another_seed_is_another_cohort() -> None:
    assert draw_ear(3, 0).shape != draw_ear(4, 0).shape
    assert draw_ear(3, 0).study_uid != draw_ear(4, 0).study_uid


def test_sides_take_turns() -> None:
    assert [draw_ear(0, index).side for index in range(4)] == ["R", "L", "R", "L"]


@pytest.mark.parametrize("index", [0, 1])
def test_dicom_reads_back_as_the_rendered_volume_and_geometry(
    two_ears: Path, read_series: Callable[[Path], sitk.Image], index: int
) -> None:
    ear = draw_ear(3, index)
    image = read_series(two_ears / ear.study_folder)
    rng = np.random.default_rng([3, index, 1])
    expected = acquire(ear.anatomy, ear.to_lps, ear.geometry, ear.acquisition, rng)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
    known = read_json(two_ears / "truth" / f"ear000{index + 1}.json")["geometry"]
    np.testing.assert_allclose(image.GetOrigin(), known["origin_lps"], atol=1e-4)
    np.testing.assert_allclose(image.GetSpacing(), known["spacing_mm"], atol=1e-4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(direction, known["direction_columns_row_col_slice"], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [
        HeaderVariant(syntax="RLE", file_names="random", slice_order="shuffled", rescale_intercept=-8192),
        HeaderVariant(syntax="implicit", slice_order="reversed", rescale_intercept=0, side_in_header=True),
    ],
)
def test_every_way_of_writing_reads_back_alike(
    tmp_path: Path, read_series: Callable[[Path], sitk.Image], variant: HeaderVariant
) -> None:
    ear = draw_ear(3, 0)
    middle = ear.geometry.origin + ear.geometry.direction @ (np.array(ear.geometry.size) * ear.geometry.spacing / 2)
    small = Geometry.centred(middle, ear.geometry.direction, (0.6, 0.6, 1.5))
    ear = replace(ear, variant=variant, geometry=small)
    folder = write_ear(tmp_path, ear)
    expected = acquire(ear.anatomy, ear.to_lps, small, ear.acquisition, np.random.default_rng([3, 0, 1]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_series(folder)), expected)
    header = pydicom.dcmread(next(folder.iterdir()))
    assert ("Laterality" in header) == variant.side_in_header
    assert header.RescaleIntercept == variant.rescale_intercept


def test_headers_hold_the_identifying_strings_and_say_test(two_ears: Path) -> None:
    ear = draw_ear(3, 0)
    path = next((two_ears / ear.study_folder).iterdir())
    raw = path.read_bytes().decode("latin-1")
    strings = read_json(two_ears / "truth" / "ear0001.json")["identifying_strings_in_headers"]
    assert len(strings) >= 6
    for text in strings:
        assert text in raw
    assert "TEST DATA" in pydicom.dcmread(path).StudyDescription


@pytest.mark.parametrize("index", [0, 1])
def test_truth_puts_the_reference_onto_the_ear(index: int) -> None:
    ear = draw_ear(3, index)
    known = truth(ear)["ears"][0]
    matrix = np.array(known["T_reference_to_lps"])
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1.0, abs=1e-6)
    mirror = MIRROR if known["side"] == "L" else np.eye(4)
    # Where the reference has its origin the ear has its cochlea: ears differ in shape, by less than 1 mm there.
    landmark = np.array(known["landmarks_lps"]["cochlea_centroid"])
    assert np.linalg.norm(apply(matrix @ mirror, np.zeros(3)) - landmark) < 1.0
    # The modiolar axis of the reference, mirrored with the ear.
    axis = (matrix @ mirror)[:3, :3] @ np.array([-0.45, -0.81, -0.37])
    cosine = axis @ np.array(known["modiolar_axis_base_to_apex"]) / np.linalg.norm(axis)
    assert np.degrees(np.arccos(min(cosine, 1.0))) < 6


def test_fluid_is_where_the_truth_says(two_ears: Path, read_series: Callable[[Path], sitk.Image]) -> None:
    for index in (0, 1):
        ear = draw_ear(3, index)
        image = read_series(two_ears / ear.study_folder)
        inside = apply(ear.to_lps, ear.anatomy.duct.centre_line()[10:150:10])
        values = [image[image.TransformPhysicalPointToIndex(point.tolist())] for point in inside]
        # Noise of at most 200 HU over 14 voxels, and walls 0.5 mm away: 15 +- 60 HU.
        assert np.mean(values) < 300


def test_interrupted_cohort_goes_on_without_redoing(
    two_ears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(two_ears, tmp_path / "copy")
    drawn = []

    def draw_and_write(out: Path, seed: int, index: int) -> Path:
        drawn.append(index)
        return out

    monkeypatch.setattr(cohort, "_draw_and_write", draw_and_write)
    (tmp_path / "copy" / "truth" / "ear0002.json").unlink()
    folders = write_cohort(tmp_path / "copy", ears=2, seed=3)
    assert drawn == [1]
    assert folders[0] == tmp_path / "copy" / draw_ear(3, 0).study_folder


def test_another_cohorts_folder_is_refused(two_ears: Path) -> None:
    before = digests(two_ears)
    with pytest.raises(MedlangevinError, match="another cohort"):
        write_cohort(two_ears, ears=2, seed=4)
    assert digests(two_ears) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ears": 0, "seed": 0}, "--ears 0"),
        ({"ears": 10000, "seed": 0}, "--ears 10000"),
        ({"ears": 1, "seed": -1}, "--seed -1"),
        ({"ears": 1, "seed": 0, "workers": 0}, "--workers 0"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(MedlangevinError, match=message):
        write_cohort(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(MedlangevinError, match="is a file"):
        write_cohort(tmp_path / "file", ears=1, seed=0)
    assert (tmp_path / "file").read_text() == "kept"


def test_command_writes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fake(out: Path, *, ears: int, seed: int, workers: int) -> list[Path]:
        calls.append((out, ears, seed, workers))
        return [out] * ears

    monkeypatch.setattr("medlangevin.phantom.write_cohort", fake)
    result = CliRunner().invoke(phantom, ["--out", str(tmp_path), "--ears", "5", "--seed", "7", "--workers", "2"])
    assert result.exit_code == 0, result.output
    assert calls == [(tmp_path, 5, 7, 2)]
    assert "5 studies" in result.output
