"""The report page: what it holds, what it leaves out, and what it refuses."""

import base64
import gzip
import json
import re
import shutil
from html import unescape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from medlangevin.cli.main import main
from medlangevin.evaluation.memorisation import audit
from medlangevin.inference.generation import generate, origin
from medlangevin.inference.latents import Latents, fitted, from_prior
from medlangevin.inference.posterior import posterior
from medlangevin.reports.montage import draw_generated, draw_pairs
from medlangevin.reports.report import write_report
from medlangevin.reports.shape_figure import draw_posterior
from medlangevin.reports.viewer import Volume, inline, viewer_data
from medlangevin.runs.load import load_run
from medlangevin.runs.run import Run
from medlangevin.shape.compare import compare, write_comparison
from medlangevin.shape.compare_sets import SetComparison, SetStatistic, write_set_comparison
from medlangevin.shape.measure import Measures
from medlangevin.shape.population import MeasuredEar, Population
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.pages import page_template

AFFINE = np.array([[-0.2, 0, 0, 1.6], [0, -0.2, 0, 1.2], [0, 0, 0.2, -1.0], [0, 0, 0, 1]])


def held(page: str) -> dict:
    """The volumes inside a page."""
    found = re.search(r'<script type="application/json" id="volumes">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def image(volume: dict) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(volume["nifti"])))


def assert_shows(volume: dict, run: Run, latents: Latents, window: tuple[float, float]) -> None:
    """``volume`` is the second one drawn from ``latents`` with seed 4."""
    low, high = window
    hu = run.draw(latents.at(2), 2, seed=4, noise=False)
    assert np.abs(image(volume).get_fdata() - hu.clip(low, high)).max() <= (high - low) / 255 / 2 + 1e-3


def test_a_volume_comes_back_from_the_page_on_its_grid_within_half_a_grey_step() -> None:
    hu = np.random.default_rng(0).uniform(-1500, 3500, (5, 4, 3))
    data = viewer_data([Volume("v", "a </script> label", hu)], [], affine=AFFINE, window_hu=(-1000.0, 3000.0))
    page = page_template("medlangevin.reports", "viewer.html.j2").render(viewer=data, inline=inline)
    (volume,) = held(page)["volumes"]
    assert volume["label"] == "a </script> label"
    back = image(volume)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-6)
    assert np.abs(back.get_fdata() - hu.clip(-1000, 3000)).max() <= 4000 / 255 / 2 + 1e-3


@pytest.mark.slow
def test_the_page_holds_data_curves_samples_and_volumes_and_asks_no_network_for_anything(
    small: Any, tmp_path: Path
) -> None:
    run = shutil.copytree(small.run, tmp_path / "run")
    (run / "evaluation.json").unlink()
    page = write_report(run, tmp_path / "report.html").read_text()
    for key in ("run", "learning", "likelihood", "data", "samples", "shape", "viewer"):
        assert f'<section id="{key}">' in page
    assert f"<td>torch</td><td>{version('torch')}</td>" in page
    assert "7 ok, 1 review" in page
    assert "a &lt;b&gt;doubt&lt;/b&gt;" in page
    assert "<b>doubt" not in page
    assert page.count('<img src="data:image/png;base64,') == 6 + 3  # pictures of ears; curves, samples, reconstructions
    # Outside the viewer's own script nothing is loaded from anywhere.
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!data:|#)', outside)
    identifiers = re.findall(r'<\w+[^>]* id="([^"]*)"', outside)
    assert len(identifiers) == len(set(identifiers))
    # What is not there yet says how to make it.
    assert "medlangevin evaluate" in page
    assert "--compare" in page


def test_synthetic_volumes_and_directions_are_those_of_the_model(small: Any, tmp_path: Path) -> None:
    data = held(write_report(small.run, tmp_path / "report.html", seed=4).read_text())
    real = [item for item in data["volumes"] if item["name"].startswith("real")]
    synthetic = [item for item in data["volumes"] if item["name"].startswith("synthetic")]
    assert (len(real), len(synthetic)) == (2, 8)
    run = load_run(small.run)
    assert_shows(synthetic[1], run, from_prior(run, count=2, seed=4), data["window"])
    assert all("SYNTHETIC" in item["label"] for item in synthetic)
    assert 1 <= len(data["directions"]) <= 3
    for direction in data["directions"]:
        assert len(direction["volumes"]) == 9
        assert all("SYNTHETIC" in item["label"] for item in direction["volumes"])


def test_the_viewer_draws_as_the_synthetic_folder_was_drawn(small: Any, tmp_path: Path) -> None:
    generate(small.run, tmp_path / "fitted", count=1, fitted=True)
    data = held(write_report(small.run, tmp_path / "report.html", synthetic=tmp_path / "fitted", seed=4).read_text())
    second = next(item for item in data["volumes"] if item["name"] == "synthetic-2")
    run = load_run(small.run)
    assert_shows(second, run, fitted(run, count=2, seed=4), data["window"])
    assert second["label"] == "SYNTHETIC 2, seed 4, fitted"


def test_a_name_from_the_disk_can_neither_open_an_element_nor_an_attribute(small: Any, tmp_path: Path) -> None:
    hostile = 'x" onerror="y\'><script>'
    synthetic = tmp_path / hostile
    synthetic.mkdir()
    (synthetic / "generation.json").write_text("{}")
    (synthetic / "montage.png").write_bytes(b"")
    plain = write_report(small.run, tmp_path / "plain.html").read_text()
    page = write_report(small.run, tmp_path / "report.html", synthetic=synthetic).read_text()
    assert 'x" onerror' not in page
    assert page.count("<script>") == plain.count("<script>")
    (alt,) = re.findall(r'alt="(SYNTHETIC cochleae in [^"]*)"', page)
    assert unescape(alt) == f"SYNTHETIC cochleae in {hostile}"
    (command,) = re.findall(r"<code>(medlangevin audit [^<]*)</code>", page)
    assert unescape(command) == f"medlangevin audit RUN --synthetic {synthetic}"


def test_templates_trust_nothing_but_the_packages_own_style_and_scripts() -> None:
    folders = [files("medlangevin.reports") / "page", files("medlangevin.imaging.cohort") / "page"]
    templates = [path for folder in folders for path in folder.iterdir() if path.name.endswith(".j2")]
    assert len(templates) == 4
    trusted = [
        found for path in templates for found in re.findall(r"\{\{ *([^}]*?) *\|\s*safe", path.read_text("utf-8"))
    ]
    assert sorted(trusted) == ['inline("niivue.umd.js")', 'inline("page.css")', 'inline("viewer.js")']
    assert not any(word in path.read_text("utf-8") for path in templates for word in ("autoescape", "Markup"))


def test_a_page_without_real_ears_holds_none_and_no_pseudonym(small: Any, tmp_path: Path) -> None:
    page = write_report(small.run, tmp_path / "report.html", with_real=False).read_text()
    assert not any(item["name"].startswith("real") for item in held(page)["volumes"])
    assert not re.search(r"sub-[0-9a-f]{10}", page)
    assert page.count('<img src="data:image/png;base64,') == 2  # curves and samples


def test_shape_comparison_and_montage_of_a_synthetic_folder_are_shown(small: Any, tmp_path: Path) -> None:
    synthetic = tmp_path / "made"
    generate(small.run, synthetic, count=2)
    draw_generated(synthetic)
    (synthetic / "shape").mkdir()
    populations = [
        Population(
            name, tuple(MeasuredEar(str(value), Measures(volume_mm3=value), str(value), tmp_path) for value in values)
        )
        for name, values in (("made", (70.0, 72.0)), ("real", (71.0, 75.0)))
    ]
    write_comparison(compare(*populations), synthetic / "shape", first="made", second="real")
    none = np.empty((0, 0))
    rows = tuple(SetStatistic(name, 0.5, np.nan, np.nan, 2, 3) for name in ("mmd2", "ms_ssim_first"))
    rows += (SetStatistic("recall", np.nan, np.nan, np.nan, 2, 3),)
    write_set_comparison(
        SetComparison(rows, (), none, none, None, None), synthetic / "shape", first="made", second="real"
    )
    audit(small.run, synthetic, None, synthetic / "audit")
    draw_pairs(synthetic / "audit")
    page = write_report(small.run, tmp_path / "report.html", synthetic=synthetic).read_text()
    assert "of 2 synthetic ears look like copies" in page
    assert "nearest training ear" in page
    shared = write_report(small.run, tmp_path / "shared.html", synthetic=synthetic, with_real=False).read_text()
    assert "of 2 synthetic ears look like copies" in shared
    assert "nearest training ear" not in shared
    assert "<td>mmd2</td>" in page
    assert "<td>ms_ssim, made</td>" in page
    assert "<td>recall</td>" not in page
    assert "too few ears: recall." in page
    assert "<th>p</th><th>n, made</th><th>n, real</th>" in page
    assert "both sets, made judged by real" in page
    assert "<th>made: mean ± sd (n)</th><th>real: mean ± sd (n)</th>" in page
    # Sorted pairs differ by 1 and 3, so Wasserstein-1 is 2.
    assert re.search(r"<td>volume_mm3</td><td>71 ± 1.41 \(2\)</td><td>73 ± 2.83 \(2\)</td><td>2 \(.*to.*\)</td>", page)
    assert "<td>surface_mm2</td><td>- ± - (0)</td>" in page
    assert "SYNTHETIC cochleae in made" in page


@pytest.mark.slow
def test_what_a_scan_leaves_open_is_shown_and_without_real_ears_not_whose_scan(small: Any, tmp_path: Path) -> None:
    ear = next(small.data.glob("sub-*_ct.nii.gz"))
    posterior(small.run, ear, tmp_path / "chains", chains=2, draws=4, warmup=4, measured=2)
    draw_posterior(tmp_path / "chains")
    page = write_report(small.run, tmp_path / "report.html", posterior=tmp_path / "chains").read_text()
    assert "given this scan" in page
    assert f"<p>{ear.name}</p>" in page
    assert "Chains, and each measure" in page
    shared = write_report(
        small.run, tmp_path / "shared.html", posterior=tmp_path / "chains", with_real=False
    ).read_text()
    assert "given this scan" in shared
    assert not re.search(r"sub-[0-9a-f]{10}", shared)
    assert "scan itself" not in shared
    assert "Chains, and each measure" not in shared


def test_the_same_run_gives_the_same_page(small: Any, tmp_path: Path) -> None:
    first, second = (write_report(small.run, tmp_path / f"{name}.html").read_bytes() for name in "ab")
    assert first == second


def test_bad_input_is_one_line_and_writes_nothing(small: Any, tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match="name of a file"):
        write_report(small.run, tmp_path)
    with pytest.raises(MedlangevinError, match="medlangevin generate wrote"):
        write_report(small.run, tmp_path / "report.html", synthetic=tmp_path / "absent")
    with pytest.raises(MedlangevinError, match="preprocess"):
        write_report(small.run, tmp_path / "report.html", data_root=tmp_path / "absent")
    with pytest.raises(MedlangevinError, match="medlangevin posterior wrote"):
        write_report(small.run, tmp_path / "report.html", posterior=tmp_path)
    (tmp_path / "chains").mkdir()
    (tmp_path / "chains" / "summary.json").write_text('{"image": "x", "measures": []}')
    with pytest.raises(MedlangevinError, match=r"summary.json is damaged; run medlangevin posterior"):
        write_report(small.run, tmp_path / "report.html", posterior=tmp_path / "chains")
    (tmp_path / "made" / "shape").mkdir(parents=True)
    (tmp_path / "made" / "shape" / "comparison.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(MedlangevinError, match=r"comparison.tsv is damaged; run medlangevin shape"):
        write_report(small.run, tmp_path / "report.html", synthetic=tmp_path / "made")
    write_comparison([], tmp_path / "made" / "shape", first="made", second="real")
    (tmp_path / "made" / "shape" / "comparison_sets.tsv").write_text("statistic\tvalue\nmmd2\n")
    with pytest.raises(MedlangevinError, match=r"comparison_sets.tsv is damaged; run medlangevin shape"):
        write_report(small.run, tmp_path / "report.html", synthetic=tmp_path / "made")
    assert not (tmp_path / "report.html").exists()
    result = CliRunner().invoke(main, ["report", str(tmp_path / "no"), "--out", str(tmp_path / "x.html")])
    assert result.exit_code == 2
    assert "does not exist" in result.output


def test_figures_of_volumes_that_were_replaced_are_not_shown(small: Any, tmp_path: Path) -> None:
    folder = tmp_path / "synthetic"
    generate(small.run, folder, count=2)
    ears = tuple(MeasuredEar(str(n), Measures(volume_mm3=70.0 + n), str(n), tmp_path) for n in range(2))
    population = Population("made", ears)
    (folder / "shape").mkdir()
    comparisons = compare(population, population)
    write_comparison(comparisons, folder / "shape", first="made", second="real", first_origin=origin(folder))
    audit(small.run, folder, None, folder / "audit")
    draw_pairs(folder / "audit")

    def page() -> str:
        return write_report(small.run, tmp_path / "report.html", synthetic=folder).read_text()

    before = page()
    generate(small.run, folder, count=2, seed=1)
    after = page()
    for shown in ("made: mean", "nearest training ear"):
        assert shown in before
        assert shown not in after
    assert before.count("have been replaced") == 0
    assert after.count("have been replaced") == 2
