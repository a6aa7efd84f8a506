"""A model of the user's own, the example: trained, evaluated and put into a table; and never imported unasked."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import scipy.stats
import torch
import yaml
from click.testing import CliRunner

from medlangevin.cli.main import main
from medlangevin.config import Config, ModelConfig, dump_config, parse_config, plugins
from medlangevin.config.model import KINDS
from medlangevin.models import VAE, build, register
from medlangevin.papers.table.prepare import prepare
from medlangevin.papers.table.run import run
from medlangevin.runs.load import load_run
from medlangevin.system.errors import MedlangevinError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_model.py"


@pytest.fixture(autouse=True)
def known_kinds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts with the package's own kinds, in an environment that names no file."""
    before = dict(KINDS)
    monkeypatch.delenv(plugins.VARIABLE, raising=False)
    plugins._import.cache_clear()
    yield
    KINDS.clear()
    KINDS.update(before)
    for name in [name for name in sys.modules if name.startswith(plugins.VARIABLE)]:
        del sys.modules[name]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugins.VARIABLE, str(EXAMPLE))


def config(tmp_path: Path, **model: object) -> Config:
    raw = {
        "name": "robust",
        "output_dir": str(tmp_path / "runs"),
        "images": {"set": "dots.npz", "root": str(tmp_path)},
        "model": {"kind": "robust_vae", "latent_dim": 2, "network": {"kind": "mlp", "widths": [3]}, **model},
        "training": {"epochs": 2, "batch_size": 10, "accelerator": "cpu"},
    }
    return parse_config(raw, source="test")


def test_from_the_command_line_it_is_trained_and_evaluated(
    tmp_path: Path, write_images: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, named: None
) -> None:
    write_images(tmp_path / "dots.npz", (1, 4, 4), train=30, valid=20, test=30)
    (tmp_path / "own.yaml").write_text(dump_config(config(tmp_path, degrees=3)))
    KINDS.pop("robust_vae")
    plugins._import.cache_clear()
    trained = CliRunner().invoke(main, ["train", str(tmp_path / "own.yaml")])
    assert trained.exit_code == 0, trained.output
    found = load_run(tmp_path / "runs" / "robust")
    assert type(found.model) is VAE
    assert found.model.likelihood.degrees == 3
    evaluated = CliRunner().invoke(main, ["evaluate", str(found.directory), "--samples", "3"])
    assert evaluated.exit_code == 0, evaluated.output
    assert "negative ELBO" in evaluated.output

    # Without the variable nothing of the run's is imported, and one line says what to do.
    monkeypatch.delenv(plugins.VARIABLE)
    plugins._import.cache_clear()
    KINDS.pop("robust_vae")
    with pytest.raises(MedlangevinError, match=r"set MEDLANGEVIN_PLUGINS to its file .given: 'robust_vae'") as error:
        load_run(found.directory)
    assert "\n" not in str(error.value)
    assert "robust_vae" not in KINDS


def test_it_stands_in_a_table(tmp_path: Path, write_images: Callable[..., Path], named: None) -> None:
    write_images(tmp_path / "dots.npz", (1, 4, 4), train=30, valid=20, test=30)
    table = {
        "name": "own",
        "title": "Own",
        "figures": ["negative_elbo", "nll"],
        "base": {
            "model": {"latent_dim": 2, "network": {"kind": "mlp", "widths": [3]}},
            "training": {"epochs": 1, "batch_size": 10, "accelerator": "cpu"},
        },
        "evaluation": {"evidence": {"samples": 60, "images": 4}},
        "data_sets": {"dots": {"images": {"set": "dots.npz"}}},
        "rows": {
            "vae": {"label": "VAE", "model": {"kind": "vae"}, "seeds": {"dots": [0]}},
            "own": {"label": "Own", "model": {"kind": "robust_vae", "degrees": 2}, "seeds": {"dots": [0]}},
        },
    }
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    assert run(prepare(tmp_path / "table.yaml", tmp_path / "out", data_root=tmp_path)) == {}
    lines = (tmp_path / "out" / "table.csv").read_text().splitlines()
    assert any("own" in line and "nll" in line for line in lines)
    assert "not measured" not in (tmp_path / "out" / "table.md").read_text()


def test_its_likelihood_is_a_student_t(tmp_path: Path, named: None) -> None:
    model = build(config(tmp_path, degrees=3, likelihood={"initial_scale": 0.2}).model, (1, 4, 4))
    x, mean = torch.rand(2, 5, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = scipy.stats.t(3, loc=mean, scale=0.2).logpdf(x).reshape(5, -1).sum(1)
    torch.testing.assert_close(model.likelihood.log_prob(x, mean), torch.tensor(expected), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model.likelihood.mean(mean), mean)
    drawn = model.likelihood.sample(torch.zeros(4000), torch.Generator().manual_seed(1)).detach().double()
    assert scipy.stats.kstest(drawn, scipy.stats.t(3, scale=0.2).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"degrees": 0}, "'model.degrees': .*greater than or equal to 1"),
        ({"degree": 3}, "unknown key 'model.degree'; did you mean 'degrees'"),
        ({"flow": {}}, "'model.flow' has no effect here; it goes with kind: hvae or qsl_vae"),
        ({"likelihood": {"kind": "bernoulli"}}, "'model.likelihood.kind': input should be 'gaussian'"),
    ],
)
def test_its_settings_are_checked_like_all_others(
    tmp_path: Path, named: None, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(MedlangevinError, match=message):
        config(tmp_path, **settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a Python file"),
        ("1 / 0", "cannot be imported .ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "cannot be imported .SystemExit: 0"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, message: str
) -> None:
    path = tmp_path / "broken.py"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv(plugins.VARIABLE, str(path))
    with pytest.raises(MedlangevinError, match=message) as error:
        config(tmp_path)
    assert "\n" not in str(error.value)
    assert not [name for name in sys.modules if name.startswith(plugins.VARIABLE)]


def test_a_file_called_like_a_module_does_not_take_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "json.py"
    path.write_text(EXAMPLE.read_text())
    monkeypatch.setenv(plugins.VARIABLE, str(path))
    before = sys.modules["json"]
    assert config(tmp_path).model.kind == "robust_vae"
    assert sys.modules["json"] is before


def test_importing_it_is_enough_in_python() -> None:
    with pytest.raises(MedlangevinError, match="input should be"):
        parse_config({"name": "a", "model": {"kind": "robust_vae"}}, source="x")
    spec = importlib.util.spec_from_file_location("own_model", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    model = parse_config({"name": "a", "model": {"kind": "robust_vae"}}, source="x").model
    assert (type(model).__name__, dict(model)["degrees"]) == ("RobustVAEConfig", 4)
    assert ModelConfig.model_validate(model.model_dump()) == model


def test_a_kind_of_ones_own_needs_a_name_of_its_own() -> None:
    class Taken(ModelConfig):
        kind: str = "vae"

    def unused(*_: object) -> VAE:
        raise AssertionError("a refused kind is built")

    with pytest.raises(MedlangevinError, match="Taken names no kind of model"):
        register(Taken, unused)
    taken = type("Taken", (KINDS["vae"],), {})
    with pytest.raises(MedlangevinError, match="the kind 'vae' is medlangevin's own"):
        register(taken, unused)
