import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from medlangevin.cli.main import main
from medlangevin.papers.toy import neural
from medlangevin.papers.toy.gaussian import run_gaussian


def run(*arguments):
    return CliRunner().invoke(main, ["toy", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Both toys in one folder, with a few steps; the outputs on the terminal."""
    out = tmp_path_factory.mktemp("toys") / "new" / "folder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural, "VARIATIONAL_STEPS", 20)
        results = {name: run(name, "--out", out, "--steps", 30, "--seed", 3) for name in ("gaussian", "neural")}
    return out, results


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaussian", "neural"])
def test_it_writes_picture_samples_metrics_and_settings(name, finished):
    out, results = finished
    assert results[name].exit_code == 0, results[name].output
    assert (out / f"toy_{name}.png").read_bytes().startswith(b"\x89PNG")
    settings = json.loads((out / f"toy_{name}_settings.json").read_text())
    metrics = pd.read_csv(out / f"toy_{name}_metrics.csv")
    samples = pd.read_csv(out / f"toy_{name}_samples.csv")
    assert settings["seed"] == 3
    assert list(metrics.columns) == list(settings["columns_of_the_metrics"])
    assert (metrics["w2"] > 0).all()
    panels = len(metrics) // 3
    assert len(samples) == panels * 20 * 3
    assert sorted(samples["method"].unique()) == sorted(metrics["method"].unique())
    assert len(list(out.iterdir())) == 8


@pytest.mark.slow
def test_every_panel_of_the_papers_figures_has_its_numbers(finished):
    out, _ = finished
    gaussian = pd.read_csv(out / "toy_gaussian_metrics.csv")
    features = gaussian.groupby("method")["num_features"].unique().map(list)
    assert features["ald_published"] == features["ald_adapted"] == [2, 3, 8, 128]
    assert features["kernel_ald"] == [3, 8, 128]
    neural = pd.read_csv(out / "toy_neural_metrics.csv")
    assert list(neural["method"].unique()) == [
        "truth",
        "ald_published",
        "ald_adapted",
        "kernel_ald",
        "mala",
        "mean_field_vi",
        "full_covariance_vi",
    ]
    assert neural.set_index("method").loc[["mean_field_vi", "full_covariance_vi"], "kl_exact"].notna().all()


@pytest.mark.slow
def test_the_table_and_the_picture_are_named(finished):
    _, results = finished
    for name, result in results.items():
        assert "ald_published" in result.output
        assert f"toy_{name}.png" in result.output


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_in_place_of_the_former(finished, tmp_path):
    out, _ = finished
    (tmp_path / "toy_gaussian_metrics.csv").write_text("former")
    assert run("gaussian", "--out", tmp_path, "--steps", 30, "--seed", 3).exit_code == 0
    for file in ("toy_gaussian_metrics.csv", "toy_gaussian_samples.csv"):
        assert (tmp_path / file).read_bytes() == (out / file).read_bytes()


@pytest.mark.slow
def test_another_seed_gives_other_numbers(finished):
    out, _ = finished
    former = pd.read_csv(out / "toy_gaussian_metrics.csv")
    other = run_gaussian(seed=4, steps=30).metrics
    assert not np.isclose(former["w2"], other["w2"]).any()


@pytest.mark.parametrize("name", ["gaussian", "neural"])
def test_a_folder_with_other_files_is_refused_and_left_alone(name, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    result = run(name, "--out", tmp_path)
    assert result.exit_code == 2
    assert (
        result.stderr
        == f"error: {tmp_path} holds thesis.tex, which toy did not write; choose an empty folder with --out\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_instead_of_a_folder_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for out in (file, file / "below"):
        result = run("gaussian", "--out", out)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert "--out" in result.stderr


@pytest.mark.parametrize("arguments", [["--steps", 5], ["--seed", -1], ["--steps", "many"], []])
def test_wrong_use_is_refused_before_anything_is_written(arguments, tmp_path):
    out = tmp_path / "out"
    result = run("gaussian", *arguments, *(["--out", out] if arguments else []))
    assert result.exit_code == 2
    assert not out.exists()


@pytest.mark.parametrize("name", ["gaussian", "neural"])
def test_both_have_help_with_an_example(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"medlangevin toy {name} --out" in result.output
