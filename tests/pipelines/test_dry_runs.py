"""Both workflows with both profiles and the settings that are shipped, without doing anything; and their mistakes."""

import json
import re
from pathlib import Path

import pytest
import yaml

from medlangevin.papers.table.cells import make_cells
from medlangevin.papers.table.schema import load_table

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "pipelines" / "profiles"
# The program is the environment that runs the workflow; it is not published as an image or a conda package.
EXPECTED = "Specify a conda environment or container for each rule."


@pytest.fixture(params=["local", "slurm"])
def profile(request):
    if request.param == "slurm":
        pytest.importorskip("snakemake_executor_plugin_slurm", reason="snakemake-executor-plugin-slurm is missing")
    return PROFILES / request.param


def jobs(output: str) -> dict[str, int]:
    table = output[output.index("Job stats:") : output.index("\ntotal ")]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def test_one_job_for_each_share_model_and_seed(snakemake, profile, tmp_path):
    (tmp_path / "dicom").mkdir()
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    shipped = ROOT / "configs" / "pipelines" / "cochlea.yaml"
    settings = yaml.safe_load(shipped.read_text())
    result = snakemake("cochlea.smk", "--profile", profile, "--configfile", shipped, "-n", folder=tmp_path)
    assert result.returncode == 0, result.stdout
    runs = sum(len(row["seeds"]) for row in settings["models"].values())
    per_run = dict.fromkeys(("train", "evaluate", "generate", "shape", "audit", "report"), runs)
    once = dict.fromkeys(("preprocess", "registration_pictures", "gate", "all"), 1)
    assert jobs(result.stdout) == per_run | once | {"preprocess_share": settings["shares"]}
    assert ("gpu=1" in result.stdout) == (profile.name == "slurm")
    assert not (tmp_path / "results").exists()


def test_one_job_for_each_cell_of_the_table(snakemake, profile, tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    shipped = ROOT / "configs" / "pipelines" / "benchmarks.yaml"
    result = snakemake("benchmarks.smk", "--profile", profile, "--configfile", shipped, "-n", folder=tmp_path)
    assert result.returncode == 0, result.stdout
    table = load_table(ROOT / "configs" / "benchmarks" / "smoke.yaml")
    cells = [cell.id for cell in make_cells(table, tmp_path, source="smoke.yaml")]
    assert sorted(re.findall(r"^    wildcards: cell=(.*)$", result.stdout, re.MULTILINE)) == sorted(cells)
    for cell in cells:
        assert (
            f"medlangevin benchmark configs/benchmarks/smoke.yaml --out results/smoke/table --only {cell}"
            in result.stdout
        )
    assert jobs(result.stdout) == {"cell": len(cells), "table": 1, "all": 1}


@pytest.mark.parametrize("name", ["cochlea", "benchmarks"])
def test_nothing_else_to_say_for_the_linter(snakemake, name, tmp_path):
    settings = ROOT / "configs" / "pipelines" / f"{name}.yaml"
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "dicom").mkdir()
    result = snakemake(f"{name}.smk", "--configfile", settings, "--lint", folder=tmp_path)
    assert set(re.findall(r"^    \* (.*):$", result.stdout, re.MULTILINE)) == {EXPECTED}, result.stdout


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (None, "no settings were given; add --configfile configs/pipelines/cochlea.yaml"),
        ({"raw": "dicom", "out": "o", "models": {}, "share": 3}, "'share' was unexpected"),
        (
            {"raw": "nowhere", "out": "o", "models": {"vae": {"config": "vae.yaml", "seeds": [0]}}},
            "raw: nowhere does not exist",
        ),
    ],
)
def test_mistakes_in_the_settings_are_said(snakemake, settings, words, tmp_path):
    arguments = []
    if settings is not None:
        (tmp_path / "settings.yaml").write_text(json.dumps(settings))
        arguments = ["--configfile", "settings.yaml"]
    result = snakemake("cochlea.smk", *arguments, "-n", "--cores", 1, folder=tmp_path)
    assert result.returncode == 1
    assert words in result.stdout
    assert "Traceback" not in result.stdout


def test_a_table_that_is_wrong_is_told_as_the_program_tells_it(snakemake, tmp_path):
    (tmp_path / "table.yaml").write_text("name: t\ntitel: T\n")
    (tmp_path / "settings.yaml").write_text(json.dumps({"table": "table.yaml", "out": "o"}))
    arguments = ("--configfile", "settings.yaml", "-n", "--cores", 1)
    result = snakemake("benchmarks.smk", *arguments, folder=tmp_path)
    assert result.returncode == 1
    assert "table.yaml: " in result.stdout
    assert "unknown key 'titel'; did you mean 'title'?" in result.stdout
    assert "Traceback" not in result.stdout
