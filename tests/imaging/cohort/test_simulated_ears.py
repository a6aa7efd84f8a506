"""On scans with known truth, where they lie beside the checkout: a right ear, a left ear, and both at once."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medlangevin.imaging.cohort.deidentify import load_key, series_hash
from medlangevin.imaging.cohort.preprocess import PreprocessSummary, preprocess

pytestmark = pytest.mark.slow

# Coarse ones, as they are fast: tilted planes and private tags; flipped axes, deflated and no extension; both ears.
SCANS = ("dev01", "dev23", "devB2")


@pytest.fixture(scope="module")
def scans(simulated_ears: Path) -> list[dict]:
    found = [json.loads((simulated_ears / "truth" / f"{name}.json").read_text()) for name in SCANS]
    return [{**scan, "folder": simulated_ears / scan["study_folder"]} for scan in found]


@pytest.fixture(scope="module")
def done(scans: list[dict], tmp_path_factory: pytest.TempPathFactory) -> PreprocessSummary:
    folder = tmp_path_factory.mktemp("simulated")
    (folder / "raw").mkdir()
    for scan in scans:
        (folder / "raw" / scan["folder"].name).mkdir()
        for file in scan["folder"].iterdir():
            (folder / "raw" / scan["folder"].name / file.name).symlink_to(file)
    return preprocess(folder / "raw", folder / "out")


@pytest.mark.slow(seconds=25)
def test_every_ear_is_cropped_on_its_side_within_a_millimetre(done: PreprocessSummary, scans: list[dict]) -> None:
    assert done.key_file is not None
    key = load_key(done.key_file)
    assert key is not None
    wanted = {
        (series_hash(key, scan["series_instance_uid"]), ear["side"]): ear for scan in scans for ear in scan["ears"]
    }
    assert {(ear["series"], ear["side"]) for ear in done.ears} == set(wanted)
    assert done.failures == ()
    for record in done.ears:
        truth = wanted[record["series"], record["side"]]
        sidecar = done.out / "crops" / f"sub-{record['subject']}_side-{record['side']}_ct.json"
        matrix = np.array(json.loads(sidecar.read_text())["reference_to_scan_lps"])
        mirror = np.diag([-1.0 if record["side"] == "L" else 1.0, 1.0, 1.0, 1.0])
        points = np.c_[np.array(truth["cochlea_points_lps"]), np.ones(40)]
        ours = points @ np.linalg.inv(matrix).T
        theirs = points @ np.linalg.inv(np.array(truth["T_canonical_to_lps"]) @ mirror).T
        # 0.2 mm of shape in the median; a lost ear is 2 mm or more away.
        assert np.linalg.norm(ours - theirs, axis=1).mean() < 0.6


def test_crop_is_dark_in_the_duct_and_bright_around_it(done: PreprocessSummary) -> None:
    for record in done.ears:
        image = sitk.ReadImage(str(done.out / "crops" / f"sub-{record['subject']}_side-{record['side']}_ct.nii.gz"))
        basal_turn = image[image.TransformPhysicalPointToIndex((2.6, -0.5, 0.0))]
        assert basal_turn < 1000
        assert np.median(sitk.GetArrayViewFromImage(image)) > 1000


def test_no_identifying_string_of_the_truth_reaches_any_output(done: PreprocessSummary, scans: list[dict]) -> None:
    strings = {text for scan in scans for text in scan["identifying_strings_in_headers"]}
    strings |= {scan[name] for scan in scans for name in ("study_instance_uid", "series_instance_uid")}
    assert len(strings) > 20
    outputs = {path: path.read_bytes() for path in done.out.rglob("*") if path.is_file()}
    for path, data in outputs.items():
        content = gzip.decompress(data) if path.suffix == ".gz" else data
        for text in strings:
            for encoding in ("utf-8", "latin-1", "utf-16-le"):
                assert text.encode(encoding, "ignore") not in content, (text, path.name)
            assert text not in path.name
