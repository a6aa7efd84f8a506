import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from scipy.spatial.transform import Rotation

from medlangevin.cli.main import main
from medlangevin.datasets.datalist import read_index
from medlangevin.imaging.cohort import preprocess as pipeline
from medlangevin.imaging.cohort.deidentify import default_key_file, pseudonym
from medlangevin.imaging.cohort.person import Outcome, Person, process_person
from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.summary import PreprocessSummary
from medlangevin.imaging.registration.reference import Reference
from medlangevin.system.errors import MedlangevinError

GOOD = {"PatientName": "FINE^PERSON", "PatientID": "FINE-1", "PatientBirthDate": "19470811", "series_uid": "1.2.77.1"}
MR_IMAGE, REPORT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.88.33"
SECRETS = ["FINE^PERSON", "FINE-1", "19470811", "1.2.77.1", "1.2.77.2", "private_folder", "named_scan"]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec([0.1, -0.15, 0.2]).as_matrix() @ np.diag([-1, 1, 1])
    matrix[:3, 3] = (40.0, -30.0, 700.0)
    return matrix


@pytest.fixture(scope="module")
def raw(
    tmp_path_factory: pytest.TempPathFactory,
    write_slice: Callable[..., Path],
    write_volume: Callable[..., None],
    warped_reference: Callable[..., sitk.Image],
    truth: np.ndarray,
) -> Path:
    """A left ear as DICOM, a right ear as NIfTI, a series with a hole, an MR slice and a text file."""
    raw = tmp_path_factory.mktemp("hospital")
    write_volume(raw / "private_folder" / "FINE^PERSON", warped_reference(truth), **GOOD)
    sitk.WriteImage(warped_reference(truth @ np.diag([-1.0, 1, 1, 1])), str(raw / "named_scan.nii.gz"))
    pixels = np.full((40, 40), 700, np.int16)
    for height in (0, 0.5, 1.0, 1.5, 2.5, 3.0):
        write_slice(raw / "holes" / f"s{height}", pixels, (0, 0, height), series_uid="1.2.77.2")
    write_slice(raw / "mr", pixels, (0, 0, 0), Modality="MR", SOPClassUID=MR_IMAGE)
    (raw / "notes.txt").write_text("not an image")
    return raw


@pytest.fixture(scope="module")
def done(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> PreprocessSummary:
    out = tmp_path_factory.mktemp("work") / "cochlea"
    return preprocess(raw, out)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


@pytest.mark.slow
def test_both_ears_are_cropped_and_the_rest_is_accounted_for(done: PreprocessSummary) -> None:
    assert sorted(ear["side"] for ear in done.ears) == ["L", "R"]
    assert all(ear["verdict"] == "ok" for ear in done.ears)
    assert [problem.folder and problem.folder.name for problem in done.failures] == ["holes"]
    assert "1 slice missing" in done.failures[0].reason
    assert done.passed_over == {"modality MR, not CT": 1, "no DICOM, NIfTI or NRRD file": 1}


@pytest.mark.slow
def test_output_folder_is_what_training_reads(done: PreprocessSummary) -> None:
    index = read_index(done.out)
    assert index.shape == (60, 50, 50)
    assert np.allclose(
        index.affine, np.array([[-0.2, 0, 0, 6.3], [0, -0.2, 0, 4.45], [0, 0, 0.2, -4.5], [0, 0, 0, 1]]), atol=1e-5
    )
    for ear in index.training:
        stored = nibabel.load(ear.image)
        assert stored.get_data_dtype() == np.int16
        assert ear.image.name == f"sub-{ear.subject}_side-{ear.side}_ct.nii.gz"
        assert (done.out / "qc" / ear.image.name.replace(".nii.gz", ".png")).is_file()
    rows = (done.out / "participants.tsv").read_text().splitlines()
    assert rows[0] == "participant_id\tsides\tsplit"
    assert len(rows) == 3
    failures = (done.out / "failures.tsv").read_text().splitlines()
    assert failures[0] == "study\tsubject\tcode\treason\twhat_to_do"
    assert failures[1].split("\t")[2] == "missing-slice"
    assert len(failures) == 2


@pytest.mark.slow
def test_crops_of_the_two_sides_show_the_same_reference_ear(
    done: PreprocessSummary, truth: np.ndarray, reference: Reference
) -> None:
    crops = [
        sitk.ReadImage(str(done.out / "crops" / f"sub-{e['subject']}_side-{e['side']}_ct.nii.gz")) for e in done.ears
    ]
    expected = sitk.GetArrayFromImage(sitk.Resample(reference.image, crops[0]))
    for crop in crops:
        # The scan was interpolated twice from the reference and holds 60 HU of noise.
        difference = sitk.GetArrayFromImage(crop).astype(float) - expected
        assert np.corrcoef(sitk.GetArrayFromImage(crop).ravel(), expected.ravel())[0, 1] > 0.97
        assert abs(np.median(difference)) < 30
    left = next(ear for ear in done.ears if ear["side"] == "L")
    sidecar = json.loads((done.out / "crops" / f"sub-{left['subject']}_side-L_ct.json").read_text())
    assert np.allclose(sidecar["reference_to_scan_lps"], truth, atol=0.1)


@pytest.mark.slow
def test_no_identifying_string_reaches_any_output(done: PreprocessSummary, identifying: list[str]) -> None:
    names = [str(path.relative_to(done.out)) for path in done.out.rglob("*")]
    for secret in SECRETS + identifying:
        assert not any(secret in name for name in names)
        for encoding in ("utf-8", "utf-16-le", "latin-1"):
            needle = secret.encode(encoding)
            for path in done.out.rglob("*"):
                if path.is_file():
                    data = path.read_bytes()
                    text = gzip.decompress(data) if path.suffix == ".gz" else data
                    assert needle not in text, (secret, path.name)


@pytest.mark.slow
def test_key_is_private_outside_the_output_and_keeps_pseudonyms(
    done: PreprocessSummary, raw: Path, tmp_path: Path
) -> None:
    key_file = default_key_file(done.out)
    assert done.key_file == key_file
    assert key_file.parent == done.out.parent
    assert key_file.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "key"
    other.write_text("ab" * 32)
    assert pseudonym(bytes.fromhex("ab" * 32), "id:x") != pseudonym(b"0" * 32, "id:x")
    other.write_text("short")
    with pytest.raises(MedlangevinError, match="key file"):
        preprocess(raw, tmp_path / "out", key_file=other)
    assert not (tmp_path / "out").exists()


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pseudonyms of the persons that are worked on from here."""
    worked = []

    def process(person: Person, *rest: Any) -> Outcome:
        worked.append(person.subject)
        return process_person(person, *rest)

    monkeypatch.setattr(pipeline, "process_person", process)
    return worked


@pytest.mark.slow
def test_second_run_keeps_finished_ears_and_gives_the_same_files(
    done: PreprocessSummary, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(done.out)
    lost = done.ears[0]
    (done.out / "crops" / f"sub-{lost['subject']}_side-{lost['side']}_ct.nii.gz").unlink()
    worked = watch(monkeypatch)
    again = preprocess(raw, done.out)
    assert worked == [lost["subject"]]
    assert again.ears == done.ears
    assert hashes(done.out) == before


@pytest.mark.slow
def test_changed_input_is_done_again(
    done: PreprocessSummary, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(raw, copy)
    shutil.copytree(done.out, out)
    shutil.copy(default_key_file(done.out), tmp_path / "out.key")
    slice_file = next((copy / "private_folder").rglob("IM*"))
    os.utime(slice_file, ns=(1, 1))
    worked = watch(monkeypatch)
    again = preprocess(copy, out)
    assert worked == [next(ear["subject"] for ear in done.ears if ear["side"] == "L")]
    assert again.ears == done.ears


@pytest.mark.slow
def test_two_processes_give_the_same_files_as_one(done: PreprocessSummary, raw: Path, tmp_path: Path) -> None:
    shutil.copy(default_key_file(done.out), tmp_path / "out.key")
    preprocess(raw, tmp_path / "out", workers=2)
    assert hashes(tmp_path / "out") == hashes(done.out)


@pytest.mark.slow
def test_command_prints_what_it_decided(done: PreprocessSummary, raw: Path) -> None:
    result = CliRunner().invoke(main, ["preprocess", "--raw", str(raw), "--out", str(done.out)])
    assert result.exit_code == 1
    assert "1 CT series gave no crop" in result.stderr
    assert "cropped  2 ears (1 left, 1 right), 3 persons from an earlier run" in result.output
    assert f"failed   {raw / 'holes'}: 1 slice missing" in result.output
    assert "qc/index.html" in result.output


def bad_input(raw: Path, out: Path, *more: str) -> str:
    result = CliRunner().invoke(main, ["preprocess", "--raw", str(raw), "--out", str(out), *more])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists()
    assert not out.with_name(out.name + ".key").exists()
    return result.stderr


def test_nothing_to_work_on_is_one_line_and_nothing_is_written(
    tmp_path: Path, write_slice: Callable[..., Path]
) -> None:
    out = tmp_path / "out"
    assert "is not a folder" in bad_input(tmp_path / "absent", out)
    (tmp_path / "empty").mkdir()
    assert "no DICOM files in" in bad_input(tmp_path / "empty", out)
    pixels = np.zeros((8, 8), np.int16)
    for number in range(2):
        write_slice(tmp_path / "mr" / f"{number}", pixels, (0, 0, 0), Modality="MR", SOPClassUID=MR_IMAGE)
    write_slice(tmp_path / "mr" / "report", pixels, (0, 0, 0), Modality="SR", SOPClassUID=REPORT)
    assert "no CT series in" in bad_input(tmp_path / "mr", out)
    assert "(found: MR 2, SR 1)" in bad_input(tmp_path / "mr", out)
    assert "within each other" in bad_input(tmp_path / "mr", tmp_path / "mr" / "out")
    assert "reference" in bad_input(tmp_path / "mr", out, "--reference", str(tmp_path / "none.nii.gz"))


def test_an_unexpected_error_in_one_scan_is_a_failure_of_that_scan(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("private_folder")

    monkeypatch.setattr("medlangevin.imaging.cohort.person.series_ears", crash)
    summary = preprocess(raw, tmp_path / "out")
    assert len(summary.failures) == 3
    assert all("RuntimeError" in problem.reason for problem in summary.failures)
    assert "private_folder" not in (tmp_path / "out" / "failures.tsv").read_text()


def test_all_series_unusable_is_a_list_of_failures(raw: Path, tmp_path: Path) -> None:
    with_holes = tmp_path / "raw"
    shutil.copytree(raw / "holes", with_holes / "holes")
    summary = preprocess(with_holes, tmp_path / "out")
    assert summary.ears == ()
    assert len(summary.failures) == 1
    assert "missing-slice" in (tmp_path / "out" / "failures.tsv").read_text()


@pytest.fixture
def rerun(done: PreprocessSummary, raw: Path, tmp_path: Path) -> tuple[Path, Callable[[], PreprocessSummary]]:
    """A copy of a finished output folder, to be harmed, and a call that preprocesses the same scans into it again."""
    shutil.copytree(done.out, tmp_path / "out")
    shutil.copy(default_key_file(done.out), tmp_path / "out.key")
    return tmp_path / "out", lambda: preprocess(raw, tmp_path / "out")


@pytest.mark.slow
def test_a_damaged_crop_is_made_again(
    done: PreprocessSummary, rerun: tuple[Path, Callable[[], PreprocessSummary]]
) -> None:
    out, again = rerun
    victim = next((out / "crops").glob("*.nii.gz"))
    victim.write_bytes(victim.read_bytes()[:1000])
    again()
    assert hashes(out) == hashes(done.out)


@pytest.mark.slow
def test_a_lost_key_is_said_before_pseudonyms_change(rerun: tuple[Path, Callable[[], PreprocessSummary]]) -> None:
    out, again = rerun
    out.with_name("out.key").unlink()
    before = hashes(out)
    with pytest.raises(MedlangevinError, match="made with a key that is not at"):
        again()
    assert hashes(out) == before
    assert not out.with_name("out.key").exists()


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[]", '{"persons": []}', '{"persons": null}', "{}", "{"])
def test_a_damaged_status_file_is_named(rerun: tuple[Path, Callable[[], PreprocessSummary]], text: str) -> None:
    out, again = rerun
    (out / "status.json").write_text(text)
    with pytest.raises(MedlangevinError, match=r"status\.json is (damaged; delete it|not valid JSON)"):
        again()


def test_a_folder_of_others_is_left_alone(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dataset.json").write_text("{}")
    with pytest.raises(MedlangevinError, match="files that preprocess did not write"):
        preprocess(raw, tmp_path / "mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "dataset.json"]
