"""The schema: what it accepts comes back equal, what it refuses it explains in one line."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medlangevin.config import Config, dump_config, load_config, parse_config
from medlangevin.errors import MedlangevinError

CONFIGS = Path(__file__).parents[1] / "configs"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


MINIMAL = "name: a\nmodel:\n  kind: vae\n"


@pytest.mark.parametrize("name", ["cochlea_vae", "cochlea_qsl"])
def test_shipped_configs_load_and_name_their_run(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.yaml")
    assert config.name == name
    assert config.run_dir == Path("runs") / name
    assert config.data.root == Path("data/cochlea")


def test_defaults_and_values(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL + "training: {epochs: 3}\n"))
    assert (config.model.kind, config.training.epochs, config.seed) == ("vae", 3, 0)
    assert config.output_dir == Path("runs")


def test_dump_reads_back_equal(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, MINIMAL + "data: {window_hu: [-500, 1500.5]}\ntraining: {learning_rate: 3e-4}\n")
    )
    assert config.training.learning_rate == 3e-4
    assert load_config(write(tmp_path, dump_config(config))) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=5", r"unknown key 'training\.epoch'; did you mean 'epochs'\?"),
        ("modle=5", r"unknown key 'modle'; did you mean 'model'\?"),
        ("training.xyz=5", r"unknown key 'training\.xyz'; keys here: epochs, batch_size"),
        ("training.epochs=0", r"'training\.epochs': .*greater than or equal to 1 \(given: 0\)"),
        ("training.epochs=2.5", r"'training\.epochs'"),
        ("training.epochs=true", r"'training\.epochs'"),
        ("training.learning_rate=-1", r"'training\.learning_rate': .*greater than 0"),
        ("training.learning_rate=.nan", r"'training\.learning_rate'"),
        ("training.learning_rate=.inf", r"'training\.learning_rate'"),
        ("training.learning_rate=fast", r"'training\.learning_rate': .*valid number, .*given: 'fast'"),
        ("data.window_hu=[5, 1]", r"'data': window_hu must be \[low, high\]"),
        ("data.window_hu=[1, .inf]", r"'data\.window_hu\.1'"),
        ("model.kind=gan", r"'model\.kind': .*'vae'"),
        ("model.flow.step_size=0.9", r"step_size must be smaller than max_step_size"),
        ("name=../escape", r"'name'"),
        ("name=.hidden", r"'name'"),
        ("seed=-1", r"'seed'"),
        ("model={}", r"key 'model\.kind' is missing"),
        ("training=5", r"'training'"),
        ("name.first=5", r"name is a value, not a section"),
        ("epochs", r"expected key=value"),
        ("=5", r"expected key=value"),
        ("seed=[1", r"not valid YAML"),
        ("seed=*x", r"not valid YAML|aliases"),
    ],
)
def test_wrong_value_is_one_line_that_names_the_key(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(MedlangevinError, match=message) as error:
        load_config(write(tmp_path, MINIMAL), (override,))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a mapping"),
        ("- a\n", "not a mapping"),
        ("name: [\n", "not valid YAML"),
        ("a: &x 1\nb: *x\n", "aliases"),
        ("name: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("1: 2\n" + MINIMAL, "unknown key '1'"),
        ("name: a\n", "key 'model' is missing"),
        ("[" * 50, "not valid YAML"),
    ],
)
def test_wrong_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(MedlangevinError, match=message) as error:
        load_config(path)
    assert "\n" not in str(error.value)
    assert "config.yaml" in str(error.value)


def test_absent_or_binary_file(tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match="does not exist; see configs/"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MedlangevinError, match="cannot be read as a text file"):
        load_config(tmp_path / "binary.yaml")
    with pytest.raises(MedlangevinError, match="cannot be read"):
        load_config(tmp_path)


def test_overrides_win_and_make_sections(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL), ("training.epochs=5", "model.flow.damping=0.5", "name=b", "name=c"))
    assert (config.training.epochs, config.model.flow.damping, config.name) == (5, 0.5, "c")


def test_section_given_as_nothing_means_its_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL + "training:\n"), ("training.epochs=5",))
    assert config.training.epochs == 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["name", "seed", "data", "model", "training", "output_dir"]) | st.text(max_size=5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.dictionaries(keys, json_values, max_size=4))
def test_any_mapping_is_accepted_or_explained_in_one_line(raw: dict[str, Any]) -> None:
    try:
        config = parse_config(raw, source="x")
    except MedlangevinError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(config, Config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nname: b\nmodel: {kind: vae}\n", "key 'name' is given twice"),
        ("name: a\nmodel: {kind: vae, latnt_dim: }\n", "did you mean 'latent_dim'?"),
        ("name: a\nmodel: {kind: vae, latent_dim: 1000000000000}\n", "'model.latent_dim'"),
    ],
)
def test_slips_of_the_keyboard_are_said_and_not_swallowed(tmp_path, text, said):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(MedlangevinError, match=re.escape(said)) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)
