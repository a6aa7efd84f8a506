"""The whole workflow with the real program on phantom ears, one of them with a broken scan."""

import json
import re
from pathlib import Path

import pydicom
import pytest

from medlangevin.phantom import write_cohort

pytestmark = pytest.mark.slow

SETTINGS = {
    "raw": "phantom/dicom",
    "out": "result",
    "shares": 2,
    "models": {"tiny": {"config": "tiny.yaml", "seeds": [3]}},
    "options": {"preprocess": "--key cohort.key", "evaluate": "--samples 2", "generate": "--count 4"},
}
TINY = """\
name: replaced
model: {kind: vae, latent_dim: 2, network: {channels: [2], hidden: 4}}
training: {epochs: 1, batch_size: 2, accelerator: cpu}
"""


def write_broken_scan(study: Path, folder: Path) -> None:
    """Ten slices of a scan, too few to hold a cochlea, as another person's."""
    folder.mkdir()
    for path in sorted(study.iterdir())[:10]:
        slice_file = pydicom.dcmread(path)
        slice_file.PatientID, slice_file.StudyInstanceUID, slice_file.SeriesInstanceUID = "another", "1.2.3", "1.2.3.4"
        slice_file.save_as(folder / path.name)


class Work:
    def __init__(self, folder: Path, snakemake) -> None:
        self.folder, self.snakemake, self.out = folder, snakemake, folder / "result"
        studies = write_cohort(folder / "phantom", ears=4, seed=0, workers=1)
        write_broken_scan(studies[0], folder / "phantom" / "dicom" / "broken")
        (folder / "tiny.yaml").write_text(TINY)
        (folder / "settings.yaml").write_text(json.dumps(SETTINGS))
        (folder / "cohort.key").write_text("0" * 64)  # who is in training and test follows from it

    def run(self):
        # One process a step: the two shares are worked on at the same time.
        threads = ("--set-threads", "preprocess_share=1", "shape=1")
        common = ("--configfile", "settings.yaml", "--cores", 2, "--keep-going")
        return self.snakemake("cochlea.smk", *common, *threads, folder=self.folder)


@pytest.fixture(scope="module")
def work(snakemake, tmp_path_factory):
    return Work(tmp_path_factory.mktemp("cohort"), snakemake)


@pytest.fixture(scope="module")
def first(work):
    return work.run()


@pytest.mark.slow(seconds=60)
def test_a_broken_scan_keeps_nothing_else_from_being_made(work, first):
    assert (work.out / "reports" / "tiny-seed3.html").is_file(), first.stdout
    assert len(list((work.out / "cochlea" / "crops").glob("*.nii.gz"))) == 4
    assert len(list((work.out / "pictures" / "registration").glob("*.png"))) == 4
    assert len(list((work.out / "synthetic" / "tiny-seed3").glob("synthetic-*_ct.nii.gz"))) == 4


def test_and_the_last_step_says_so(work, first):
    assert first.returncode == 1
    assert "gate: NOT PASSED\nscans without a crop: 1, ears that cannot be used: 0, allowed together: 0" in first.stdout
    assert not (work.out / "gate.txt").exists()


def test_accepted_it_passes_and_nothing_but_the_last_step_is_done_again(work, first):
    (work.folder / "settings.yaml").write_text(json.dumps(SETTINGS | {"allowed_failures": 1}))
    second = work.run()
    assert second.returncode == 0, second.stdout
    assert re.findall(r"^(?:local)?rule (\w+):", second.stdout, re.MULTILINE) == ["gate", "all"]
    assert (work.out / "gate.txt").read_text().startswith("gate: passed")
