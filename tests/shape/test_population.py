import nibabel
import numpy as np
import pytest

from medlangevin.shape.population import MeshExport, measure_folder
from medlangevin.shape.tables import write_population, write_sections
from medlangevin.shape.volumes import find_volumes
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, write_json
from medlangevin.system.nifti import is_label_map, read_volume


def _save(path, values, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(values).round().astype(np.int16), affine), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory, spiral_ct, affine):
    """Two good volumes, one without a cochlea."""
    folder = tmp_path_factory.mktemp("population") / "ears"
    _save(folder / "a_ct.nii.gz", spiral_ct, affine)
    _save(folder / "b_ct.nii", spiral_ct + 20, affine)
    _save(folder / "c_ct.nii.gz", np.full((60, 50, 50), 1000), affine)
    return folder


@pytest.fixture(scope="module")
def population(folder):
    """The volumes measured by one process, with meshes in the folder ``meshes`` beside theirs."""
    return measure_folder(folder, meshes=MeshExport(folder.parent / "meshes", "ply", "RAS"))


@pytest.mark.slow
def test_a_folder_becomes_a_table_with_defined_columns(population, tmp_path):
    assert [ear.name for ear in population.ears] == ["a_ct", "b_ct", "c_ct"]
    assert population.column("volume_mm3")[1] == pytest.approx(population.column("volume_mm3")[0], rel=0.001)
    table = write_population(population, tmp_path / "out")
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    assert table.name == "ears.tsv"
    assert {len(row) for row in rows} == {len(rows[0])}
    assert set(read_json(tmp_path / "out" / "ears.json")) == set(rows[0])
    assert rows[3][0] == "c_ct"
    assert set(rows[3][1:-1]) == {""}
    assert "no contrast" in rows[3][-1]
    assert float(rows[1][rows[0].index("volume_mm3")]) == pytest.approx(
        population.ears[0].measures.volume_mm3, abs=1e-4
    )


@pytest.mark.slow
def test_more_processes_give_the_same_table(folder, population):
    # repr, as NaN (a missing measure) is not equal to itself.
    two = measure_folder(folder, workers=2)
    assert repr(two) == repr(population)
    assert (two.ears[0].distance == population.ears[0].distance).all()


@pytest.mark.slow
def test_meshes_and_cross_sections_are_written_for_every_ear_that_has_them(folder, population, tmp_path):
    meshes, out = folder.parent / "meshes", tmp_path / "out"
    assert sorted(path.name for path in meshes.iterdir()) == ["a_ct.ply", "b_ct.ply"]
    assert b"SPACE=RAS" in (meshes / "a_ct.ply").read_bytes()[:200]
    table = write_sections([population], out)
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    assert set(read_json(out / "cross_sections.json")) == set(rows[0])
    assert {row[1] for row in rows[1:]} == {"a_ct", "b_ct"}
    first = dict(zip(rows[0], rows[1], strict=True))
    assert (first["population"], first["angle_deg"]) == ("ears", "30")
    areas = [float(row[3]) for row in rows[1:] if row[1] == "a_ct" and float(row[2]) <= 360]
    assert np.mean(areas) == pytest.approx(population.column("mean_area_mm2")[0], abs=1e-3)


def test_subjects_come_from_the_listing_then_the_name_then_the_volume(tmp_path):
    for name in ("sub-7_side-L_ct.nii.gz", "sub-7_side-R_ct.nii.gz", "other.nii"):
        (tmp_path / name).touch()
    assert [item.subject for item in find_volumes(tmp_path)] == ["other", "7", "7"]
    entries = [{"image": "other.nii", "subject": "x"}, {"image": "sub-7_side-L_ct.nii.gz"}]
    write_json(tmp_path / "dataset.json", {"training": entries})
    assert [item.subject for item in find_volumes(tmp_path)] == ["x", "7"]


@pytest.mark.slow
def test_files_that_cannot_be_read_are_listed_and_skipped(tmp_path, spiral_ct, affine):
    for name in "abc":
        _save(tmp_path / f"{name}_ct.nii.gz", np.full((60, 50, 50), 1000), affine)
    whole = (tmp_path / "a_ct.nii.gz").read_bytes()
    (tmp_path / "cut_ct.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text_ct.nii").write_text("not an image")
    _save(tmp_path / "four_ct.nii.gz", np.stack([spiral_ct] * 2, axis=-1), affine)
    population = measure_folder(tmp_path)
    assert [ear.name for ear in population.ears] == ["a_ct", "b_ct", "c_ct"]
    assert {name for name, _ in population.failures} == {"cut_ct", "text_ct", "four_ct"}
    assert all("\n" not in reason and str(tmp_path) not in reason for _, reason in population.failures)


def test_names_in_capitals_are_volumes_and_what_the_system_leaves_is_not(tmp_path):
    for name in ("A.NII", "B.NII.GZ", "c.Nii.gz", "._c.nii.gz", ".hidden.nii", "d.nii.gz.bak", "e.txt"):
        (tmp_path / name).touch()
    assert [item.name for item in find_volumes(tmp_path)] == ["A", "B", "c"]


@pytest.mark.slow
def test_volumes_that_hold_no_grey_values_are_refused_in_words(tmp_path, spiral_ct, spiral_distance, affine):
    _save(tmp_path / "grey_ct.NII.GZ", spiral_ct, affine)
    lumen = spiral_distance > 0
    _save(tmp_path / "lumen.nii.gz", lumen, affine)
    _save(tmp_path / "bone.nii.gz", ~lumen, affine)
    _save(tmp_path / "mask.nii.gz", 255 * lumen, affine)
    nibabel.save(nibabel.Nifti1Image(3.0 * lumen, affine), tmp_path / "real.nii.gz")
    colours = np.zeros((60, 50, 50), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, affine), tmp_path / "rgb.nii.gz")
    population = measure_folder(tmp_path)
    assert [ear.name for ear in population.ears] == ["grey_ct"]
    found = dict(population.failures)
    assert {name for name, why in found.items() if "label map" in why} == {"lumen", "bone", "mask", "real"}
    assert "colours" in found["rgb"]
    assert "dtype" not in found["rgb"]


def test_grey_values_are_not_labels(spiral_ct):
    noisy = np.random.default_rng(0).integers(0, 256, (30, 30, 30))
    assert not any(map(is_label_map, (spiral_ct, spiral_ct.round(), noisy, np.zeros((9, 9, 9)), noisy * 0 + 1000)))


def test_values_that_are_not_numbers_are_refused(tmp_path, affine):
    values = np.zeros((10, 10, 10), dtype=np.float32)
    values[3, 3, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "nan.nii.gz")
    with pytest.raises(MedlangevinError, match="not numbers"):
        read_volume(tmp_path / "nan.nii.gz")


def test_volumes_come_from_the_listing_then_the_folder_then_its_crops(tmp_path):
    crops = tmp_path / "crops"
    crops.mkdir()
    for name in ("s1.nii.gz", "s2.nii.gz"):
        (crops / name).touch()
    assert [item.name for item in find_volumes(tmp_path)] == ["s1", "s2"]
    (tmp_path / "top.nii").touch()
    assert [item.name for item in find_volumes(tmp_path)] == ["top"]
    write_json(tmp_path / "dataset.json", {"training": [{"image": "crops/s2.nii.gz", "subject": "x"}], "test": []})
    assert [item.path for item in find_volumes(tmp_path)] == [crops / "s2.nii.gz"]


@pytest.mark.parametrize(("make", "words"), [(True, "no NIfTI volumes"), (False, "not a folder")])
def test_a_folder_without_volumes_is_an_error(tmp_path, make, words):
    place = tmp_path / "empty"
    if make:
        place.mkdir()
    with pytest.raises(MedlangevinError, match=words):
        measure_folder(place)


def test_a_folder_of_unreadable_files_alone_is_an_error(tmp_path):
    (tmp_path / "x.nii.gz").write_text("no")
    with pytest.raises(MedlangevinError, match="none of the 1 volumes"):
        measure_folder(tmp_path)


@pytest.mark.parametrize("text", ["[]", '{"training": null}', '{"training": 3}'])
def test_a_damaged_listing_is_named(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(MedlangevinError, match=r"dataset\.json is damaged"):
        find_volumes(tmp_path)
