import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.image import imread

from medlangevin.cli.shape import shape
from medlangevin.reports.shape_comparison import format_table, report_shape
from medlangevin.reports.shape_figure import draw_comparison, panel_caption
from medlangevin.shape import coordinates
from medlangevin.shape.compare import compare, compare_samples
from medlangevin.shape.compare_sets import compare_sets
from medlangevin.shape.measure import Measures
from medlangevin.shape.population import MeasuredEar, Population
from medlangevin.system.errors import MedlangevinError, PartialFailureError
from medlangevin.system.files import read_json

AFFINE = np.diag([-0.2, -0.2, 0.2, 1.0])
AFFINE[:3, 3] = [6.3, 4.45, -4.5]


def _ear(radius):
    """A ring of fluid about the modiolar axis: not a cochlea, but with volume and A and B."""
    uvh = coordinates.to_modiolar(coordinates.voxel_centres_lps((60, 50, 50), AFFINE))
    ring = np.hypot(np.hypot(uvh[..., 0] + 0.25, uvh[..., 1] + 0.45) - 2.8, uvh[..., 2])
    return 2000.0 - 2000.0 * np.clip((radius - ring) / 0.4 + 0.5, 0, 1)


def _folder(path, radii):
    path.mkdir(parents=True)
    for number, radius in enumerate(radii):
        image = nibabel.Nifti1Image(_ear(radius).astype(np.int16), AFFINE)
        nibabel.save(image, path / f"synthetic-{number}_ct.nii.gz")
    return path


def _population(name, seed, count=30):
    rng = np.random.default_rng(seed)
    rows = [Measures(volume_mm3=rng.normal(72, 9), a_mm=rng.normal(9.2, 0.4)) for _ in range(count)]
    return Population(
        name, tuple(MeasuredEar(str(index), row, str(index), Path("gone")) for index, row in enumerate(rows))
    )


@pytest.mark.slow
def test_synthetic_ears_are_compared_with_the_splits_that_are_asked_for(tmp_path):
    first = _folder(tmp_path / "synthetic", [0.8, 0.9])
    second = _folder(tmp_path / "real", [0.7, 1.0, 0.85, 0.75])
    names = [f"synthetic-{number}_ct.nii.gz" for number in range(4)]
    splits = {"training": names[:1], "validation": names[1:2], "test": names[2:]}
    listing = {key: [{"image": name, "subject": name[10]} for name in value] for key, value in splits.items()}
    (second / "dataset.json").write_text(json.dumps(listing))
    report = report_shape(first, other=second, splits=("validation", "test"))
    stems = [name.removesuffix(".nii.gz") for name in names]
    assert [[ear.name for ear in population.ears] for population in report.populations] == [stems[:2], stems[1:]]
    assert (first / "shape" / "real-validation-test.tsv").is_file()
    assert read_json(first / "shape" / "comparison.json")["second"] == "real-validation-test"

    (second / "dataset.json").write_text(json.dumps(listing | {"test": []}))
    with pytest.raises(MedlangevinError, match="lists no ears in test"):
        report_shape(first, other=second, splits=("test",))
    with pytest.raises(MedlangevinError, match=r"dataset\.json"):
        report_shape(first, splits=("test",))


@pytest.mark.slow
def test_two_folders_give_tables_a_comparison_and_a_figure(tmp_path):
    first = _folder(tmp_path / "synthetic", [0.8, 0.9])
    second = _folder(tmp_path / "real", [0.7, 1.0, 0.85])
    report = report_shape(first, other=second)
    assert sorted(path.name for path in (first / "shape").iterdir()) == [
        "comparison.json",
        "comparison.png",
        "comparison.tsv",
        "comparison_sets.json",
        "comparison_sets.tsv",
        "cross_sections.json",
        "cross_sections.tsv",
        "real.json",
        "real.tsv",
        "synthetic.json",
        "synthetic.tsv",
    ]
    volumes = report.populations[0].column("volume_mm3")
    assert volumes[0] < volumes[1]
    assert report.comparisons[0].second_count == 3
    table = format_table(report)
    assert "volume_mm3" in table
    assert "(3 of 3)" in table
    assert "fewer than 10 ears" in table
    rows = [line.split("\t") for line in (first / "shape" / "comparison_sets.tsv").read_text().splitlines()]
    described = read_json(first / "shape" / "comparison_sets.json")
    assert set(described["columns"]) == set(rows[0])
    assert set(described["statistics"]) == {row[0] for row in rows[1:]}
    cells = {row[0]: row for row in rows[1:]}
    assert cells["mmd2"][1] == ""  # two and three ears are too few
    assert 0 < float(cells["ms_ssim_second"][1]) < 1


@pytest.mark.slow
def test_folders_of_one_name_do_not_overwrite_each_other(tmp_path):
    first, second = _folder(tmp_path / "x" / "ears", [0.8]), _folder(tmp_path / "y" / "ears", [0.9])
    report = report_shape(first, other=second, out=tmp_path / "out")
    assert [population.name for population in report.populations] == ["x-ears", "y-ears"]
    assert (tmp_path / "out" / "x-ears.tsv").is_file()
    assert (tmp_path / "out" / "y-ears.tsv").is_file()


@pytest.mark.slow
def test_the_figure_is_drawn_even_where_measures_are_missing(tmp_path):
    first, second = _population("one", 1), _population("two", 2)
    path = draw_comparison(
        first, second, tuple(compare(first, second)), compare_sets(first, second), tmp_path / "figure.png"
    )
    picture = imread(path)
    assert picture.shape[1] > 1000
    colours = (picture[..., :3] * 255).round().astype(int)
    for wanted in ([0, 114, 178], [213, 94, 0]):  # both populations are in the picture
        assert (np.abs(colours - wanted).max(axis=-1) < 3).sum() > 500


def test_the_caption_gives_distance_test_and_counts():
    row = compare_samples("a_mm", np.array([0.0, 1.0, 3.0]), np.array([8.0, 5.0, 6.0]))
    assert panel_caption(row, "mm") == "Wasserstein 5 mm, KS p = 0.1, n = 3 and 3"
    few = compare_samples("a_mm", np.array([0.0]), np.array([8.0, 5.0]))
    assert panel_caption(few, "mm") == "too few values (n = 1 and 2)"


@pytest.mark.slow
def test_the_command_prints_a_table_and_says_where_things_are(tmp_path):
    folder = _folder(tmp_path / "ears", [0.8])
    result = CliRunner().invoke(shape, [str(folder), "--out", str(tmp_path / "out")], standalone_mode=False)
    assert result.exception is None, result.output
    assert "volume_mm3" in result.output
    assert f"table {tmp_path / 'out' / 'ears.tsv'}" in result.output


@pytest.mark.slow
def test_the_command_skips_a_bad_file_and_says_so(tmp_path):
    folder = _folder(tmp_path / "surname_ears", [0.8])
    (folder / "bad_ct.nii.gz").write_bytes(b"\x1f\x8b no")
    result = CliRunner().invoke(shape, [str(folder)], standalone_mode=False)
    assert isinstance(result.exception, PartialFailureError)
    assert "1 of the volumes" in str(result.exception)
    listed = (folder / "shape" / "failures.tsv").read_text()
    assert "folder\tbad_ct\tcannot be read" in listed
    assert "surname" not in listed
    assert (folder / "shape" / "surname_ears.tsv").is_file()
    # Once the file is mended, the list of failures goes.
    (folder / "bad_ct.nii.gz").unlink()
    report_shape(folder)
    assert not (folder / "shape" / "failures.tsv").exists()


@pytest.mark.parametrize("other", [False, True])
def test_an_empty_folder_is_an_error_and_nothing_is_written(tmp_path, other):
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = [str(empty)]
    if other:
        arguments = [str(_folder(tmp_path / "ears", [0.8])), "--compare", str(empty)]
    result = CliRunner().invoke(shape, [*arguments, "--out", str(tmp_path / "out")], standalone_mode=False)
    assert isinstance(result.exception, MedlangevinError)
    assert not isinstance(result.exception, PartialFailureError)
    assert "\n" not in str(result.exception)
    assert str(empty) in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MedlangevinError, match="is a file"):
        report_shape(_folder(tmp_path / "ears", [0.8]), out=tmp_path / "file")


@pytest.mark.slow
@pytest.mark.parametrize("space", ["lps", "RAS"])
def test_the_command_writes_meshes_and_says_in_which_coordinates(tmp_path, space):
    folder = _folder(tmp_path / "ears", [0.8])
    arguments = [str(folder), "--mesh", "stl", "--mesh-space", space]
    result = CliRunner().invoke(shape, arguments, standalone_mode=False)
    assert result.exception is None, result.output
    assert f"(stl, {space.upper()} mm" in result.output
    mesh = folder / "shape" / "meshes" / "ears" / "synthetic-0_ct.stl"
    assert f"SPACE={space.upper()}".encode() in mesh.read_bytes()[:80]


def test_coordinates_without_a_mesh_are_an_error_before_anything_is_written(tmp_path):
    folder = _folder(tmp_path / "ears", [0.8])
    result = CliRunner().invoke(shape, [str(folder), "--mesh-space", "RAS"], standalone_mode=False)
    assert isinstance(result.exception, MedlangevinError)
    assert "--mesh" in str(result.exception)
    assert not (folder / "shape").exists()
