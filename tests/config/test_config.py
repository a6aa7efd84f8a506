"""The schema: what it accepts comes back equal, what it refuses it explains in one line."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medlangevin.config import Config, ModelConfig, dump_config, load_config, parse_config
from medlangevin.config.model import HVAEConfig, QSLVAEConfig
from medlangevin.config.networks import Conv5Network, ConvNetwork, MLPNetwork
from medlangevin.papers.table.schema import load_table
from medlangevin.system.errors import MedlangevinError

CONFIGS = Path(__file__).parents[2] / "configs"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


MINIMAL = "name: a\nmodel:\n  kind: vae\n"


@pytest.mark.parametrize("name", ["cochlea_vae", "cochlea_qsl", "cochlea_hvae", "cochlea_lae", "cochlea_ppca"])
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
        ("model={kind: qsl_vae, flow: {step_size: 0.9}}", r"step_size must be smaller than max_step_size"),
        ("name=../escape", r"'name'"),
        ("name=.hidden", r"'name'"),
        ("seed=-1", r"'seed'"),
        ("model.likelihood.kind=poisson", r"'model\.likelihood\.kind': .*'continuous_bernoulli'"),
        ("model.network.width=[5]", r"unknown key 'model\.network\.width'; did you mean 'widths'\?"),
        ("model.network={kind: mlp, widths: []}", r"'model\.network\.widths'"),
        ("model={kind: iwae, importance: {samples: 0}}", r"'model\.importance\.samples'"),
        ("model={kind: lae, langevin: {posterior_steps: 1}}", r"'model\.langevin\.posterior_steps'"),
        (
            "model={kind: hvae, flow: {tempering: fixed, initial_temperature: 1}}",
            r"'model.flow': .* more than 1 .* fixed",
        ),
        ("model={kind: hvae, flow: {tempering: free, initial_temperature: 1000}}", r"initial_temperature'"),
        ("model={kind: qsl_vae, flow: {tempering: fixed}}", r"'model\.flow\.tempering' has no effect here"),
        ("model={kind: qsl_vae, flow: {damping: 1e-50}}", r"damping must be 0 or at least"),
        ("model={kind: hvae, flow: {steps: 1000000000000}}", r"'model\.flow\.steps'"),
        ("model.likelihood.initial_scale=1e200", r"'model\.likelihood\.initial_scale'"),
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
        ("name: !!python/object/apply:os.getcwd []\n", "tags"),
        ("1: 2\n" + MINIMAL, "unknown key '1'"),
        ("name: a\n", "key 'model' is missing"),
        (MINIMAL + "images:\n", "key 'images.set' is missing"),
        ("[" * 50, "nested more than 40 levels"),
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


def test_a_packaged_configuration_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config("cochlea_qsl") == load_config(CONFIGS / "cochlea_qsl.yaml")
    assert load_table("smoke") == load_table(CONFIGS / "benchmarks" / "smoke.yaml")
    for read, name in ((load_config, "cochlea_vae"), (load_table, "lae_adam")):
        with pytest.raises(MedlangevinError, match=rf"config smoke2 does not exist; .* one of .*{name}") as error:
            read("smoke2")
        assert "\n" not in str(error.value)
    for near in ("cochlea_qsl.yaml", "configs/cochlea_qsl"):
        with pytest.raises(MedlangevinError, match=rf"config {near} does not exist; .* is called cochlea_qsl alone"):
            load_config(near)
    with pytest.raises(MedlangevinError, match=r"config elsewhere\.yaml does not exist; see configs/"):
        load_config("elsewhere.yaml")
    write(tmp_path, MINIMAL).rename("cochlea_qsl")
    assert load_config("cochlea_qsl").name == "a"


def test_a_packaged_configuration_lies_inside_an_installed_package(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("medlangevin.config.load.files", lambda package: tmp_path / package)
    (tmp_path / "medlangevin" / "configs").mkdir(parents=True)
    write(tmp_path, MINIMAL).rename(tmp_path / "medlangevin" / "configs" / "small.yaml")
    assert load_config("small").name == "a"


def test_overrides_win_and_make_sections(tmp_path: Path) -> None:
    overrides = ("training.epochs=5", "model.network.hidden=7", "name=b", "name=c")
    config = load_config(write(tmp_path, MINIMAL), overrides)
    assert isinstance(config.model.network, ConvNetwork)
    assert (config.training.epochs, config.model.network.hidden, config.name) == (5, 7, "c")


def test_section_given_as_nothing_means_its_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL + "training:\n"), ("training.epochs=5",))
    assert config.training.epochs == 5


KINDS = ("vae", "vae_flow", "iwae", "hvae", "qsl_vae", "hoffman", "lae", "ae")
# Every setting that not all models use: a value, and the settings beside it that make use of it.
USED_WITH: list[tuple[str, Any, list[dict[str, str]]]] = [
    ("flow.steps", 3, [{"kind": "hvae"}, {"kind": "qsl_vae"}]),
    ("flow.step_size", 0.002, [{"kind": "hvae"}, {"kind": "qsl_vae"}]),
    ("flow.checkpoint_steps", True, [{"kind": "hvae"}, {"kind": "qsl_vae"}]),
    ("flow.bound", "flow", [{"kind": "qsl_vae"}]),
    ("flow.step_unit", "posterior", [{"kind": "qsl_vae"}]),
    ("flow.damping", 0.3, [{"kind": "qsl_vae"}]),
    ("flow.noise", 0.3, [{"kind": "qsl_vae", "flow.bound": "flow"}]),
    (
        "flow.initial_temperature",
        1.3,
        [{"kind": "qsl_vae", "flow.bound": "flow"}]
        + [{"kind": "hvae", "flow.tempering": tempering} for tempering in ("fixed", "free")],
    ),
    ("flow.tempering", "none", [{"kind": "hvae"}]),
    ("ppca.folds", 7, [{"kind": "ppca"}]),
    ("planar.layers", 3, [{"kind": "vae_flow"}]),
    ("importance.samples", 3, [{"kind": "iwae"}]),
    ("langevin.update", "frozen", [{"kind": "lae"}]),
    ("langevin.steps", 3, [{"kind": "hoffman"}, {"kind": "lae"}]),
    ("langevin.step_size", 0.1, [{"kind": "hoffman"}, {"kind": "lae"}]),
    ("langevin.metropolis", False, [{"kind": "hoffman"}, {"kind": "lae"}]),
    ("langevin.scale", 0.1, [{"kind": "lae"}, {"kind": "ae"}]),
    ("langevin.posterior_steps", 9, [{"kind": "lae"}, {"kind": "ae"}]),
    ("langevin.posterior_step_size", 0.1, [{"kind": "lae"}, {"kind": "ae"}]),
    ("network.channels", [3], [{"network.kind": "conv"}, {"network.kind": "conv5"}]),
    ("network.hidden", 3, [{"network.kind": "conv"}, {"network.kind": "conv5"}]),
    ("network.widths", [3], [{"network.kind": "mlp"}]),
    ("network.activation", "softplus", [{"network.kind": "mlp"}]),
    ("network.layer_norm", False, [{"network.kind": "mlp"}]),
    ("likelihood.initial_scale", 0.3, [{"likelihood.kind": "gaussian"}, {"likelihood.kind": "discretized_logistic"}]),
    ("likelihood.scale_per_ear", True, [{"likelihood.kind": "gaussian"}]),
    ("likelihood.scale_map", True, [{"likelihood.kind": "gaussian"}]),
    ("likelihood.correlated", True, [{"likelihood.kind": "gaussian"}]),
]


def with_settings(*settings: dict[str, Any]) -> dict[str, Any]:
    """A mapping for ``parse_config`` from dotted keys below ``model``."""
    model: dict[str, Any] = {"kind": "vae"}
    for key, value in (item for mapping in settings for item in mapping.items()):
        section, _, leaf = key.partition(".")
        if leaf:
            model.setdefault(section, {})[leaf] = value
        else:
            model[section] = value
    return {"name": "a", "model": model}


@pytest.mark.parametrize(("key", "value", "with_one_of"), USED_WITH, ids=lambda item: item if "." in str(item) else "")
def test_a_setting_is_accepted_where_it_is_used_and_read_back(tmp_path, key, value, with_one_of):
    for settings_beside in with_one_of:
        config = parse_config(with_settings(settings_beside, {key: value}), source="x")
        section, leaf = key.split(".")
        found = getattr(getattr(config.model, section), leaf)
        assert found == (tuple(value) if isinstance(value, list) else value)
        assert f"{leaf}:" in dump_config(config)
        assert load_config(write(tmp_path, dump_config(config))) == config


@pytest.mark.parametrize(("key", "value", "with_one_of"), USED_WITH, ids=lambda item: item if "." in str(item) else "")
def test_a_setting_that_has_no_effect_is_refused_with_what_it_goes_with(key, value, with_one_of):
    section = key.partition(".")[0]
    defaults = {
        "network.kind": "conv",
        "likelihood.kind": "gaussian",
        "flow.bound": "annealed",
        "flow.tempering": "none",
    }
    refused = 0
    for kind in KINDS:
        for beside in ({}, {"network.kind": "mlp"}, {"network.kind": "conv5"}, {"likelihood.kind": "bernoulli"}):
            around = {"kind": kind, **beside}
            if any(condition.items() <= (defaults | around).items() for condition in with_one_of):
                continue
            refused += 1
            with pytest.raises(
                MedlangevinError, match=rf"'model\.{section}[^']*' has no effect here; it goes"
            ) as error:
                parse_config(with_settings(around, {key: value}), source="x")
            assert "\n" not in str(error.value)
    assert refused


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.flow.damping=0.5", "'model.flow' has no effect here; it goes with kind: hvae or qsl_vae"),
        (
            "model={kind: qsl_vae, flow: {noise: 1}}",
            "'model.flow.noise' has no effect here; it goes with kind: qsl_vae and flow.bound: flow",
        ),
        (
            "model={kind: lae, langevin: {update: frozen, steps: 3}}",
            "'model.langevin.steps' has no effect here; it goes with kind: hoffman, or with kind: lae and "
            "langevin.update: langevin or mala",
        ),
        (
            "model.likelihood={kind: bernoulli, initial_scale: 1}",
            "'model.likelihood.initial_scale' has no effect here; it goes with kind: any but ppca and "
            "likelihood.kind: gaussian or discretized_logistic",
        ),
        (
            "model.network={kind: mlp, hidden: 5}",
            "'model.network.hidden' has no effect here; it goes with kind: any but ppca and network.kind: conv or "
            "conv5",
        ),
        (
            "model.network={kind: conv5, widths: [5]}",
            "'model.network.widths' has no effect here; it goes with kind: any but ppca and network.kind: mlp",
        ),
    ],
)
def test_the_refusal_in_full(tmp_path, override, message):
    with pytest.raises(MedlangevinError) as error:
        load_config(write(tmp_path, MINIMAL), (override,))
    assert str(error.value).endswith(f"config.yaml: {message}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("network", ["conv", "conv5", "mlp"])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "continuous_bernoulli", "discretized_logistic"])
def test_a_dump_holds_what_is_used_and_nothing_else(tmp_path, kind, network, likelihood):
    settings_ = {"kind": kind, "network.kind": network, "likelihood.kind": likelihood}
    config = parse_config(with_settings(settings_), source="x")
    text = dump_config(config)
    assert load_config(write(tmp_path, text)) == config
    model = yaml.safe_load(text)["model"]
    sections = {
        "hvae": {"flow"},
        "qsl_vae": {"flow"},
        "vae_flow": {"planar"},
        "iwae": {"importance"},
        "hoffman": {"langevin"},
        "lae": {"langevin"},
        "ae": {"langevin"},
    }
    assert set(model) == {"kind", "latent_dim", "network", "likelihood"} | sections.get(kind, set())
    layers = {"channels", "hidden"} if network in ("conv", "conv5") else {"widths", "activation", "layer_norm"}
    layers |= {"warp"} if network == "conv" else set()
    assert set(model["network"]) == {"kind"} | layers
    assert ("initial_scale" in model["likelihood"]) == (likelihood in ("gaussian", "discretized_logistic"))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"network.kind": "mlp"}, "'model.network' has no effect here; it goes with kind: any but ppca"),
        ({"likelihood.kind": "bernoulli"}, "'model.likelihood.kind': input should be 'gaussian' (given: 'bernoulli')"),
        (
            {"likelihood.initial_scale": 0.3},
            "'model.likelihood.initial_scale' has no effect here; it goes with kind: any but ppca and likelihood.kind: "
            "gaussian or discretized_logistic",
        ),
        (
            {"ppca.estimate": "maximum_likelihood", "ppca.folds": 3},
            "'model.ppca.folds' has no effect here; it goes with kind: ppca and ppca.estimate: cross_validated",
        ),
        ({"ppca.folds": 1}, "'model.ppca.folds': input should be greater than or equal to 2 (given: 1)"),
    ],
)
def test_ppca_has_no_network_and_one_likelihood(settings_, message):
    with pytest.raises(MedlangevinError) as error:
        parse_config(with_settings({"kind": "ppca"}, settings_), source="x")
    assert str(error.value) == f"x: {message}"


@pytest.mark.parametrize("estimate", ["cross_validated", "maximum_likelihood"])
def test_a_dump_of_ppca_holds_what_is_used(tmp_path, estimate):
    config = parse_config(with_settings({"kind": "ppca", "ppca.estimate": estimate}), source="x")
    text = dump_config(config)
    assert load_config(write(tmp_path, text)) == config
    folds = {"folds": 5} if estimate == "cross_validated" else {}
    assert yaml.safe_load(text)["model"] == {
        "kind": "ppca",
        "latent_dim": 32,
        "likelihood": {"kind": "gaussian"},
        "ppca": {"estimate": estimate, **folds},
    }


def test_defaults_that_depend_on_other_settings():
    def model(**settings_: Any) -> HVAEConfig | QSLVAEConfig:
        found = ModelConfig.model_validate(settings_)
        assert isinstance(found, HVAEConfig | QSLVAEConfig)
        return found

    assert model(kind="hvae").flow.initial_temperature == 1
    assert model(kind="hvae", flow={"tempering": "free"}).flow.initial_temperature == 1.5
    assert model(kind="hvae", flow={"tempering": "free", "initial_temperature": 2}).flow.initial_temperature == 2
    qsl_vae = model(kind="qsl_vae")
    assert isinstance(qsl_vae, QSLVAEConfig)
    assert qsl_vae.flow.bound == "annealed"

    def sizes(**flow: Any) -> tuple[float, float]:
        found = model(kind="qsl_vae", flow=flow).flow
        return found.step_size, found.max_step_size

    assert sizes() == sizes(step_unit="latent") == (0.001, 0.05)
    assert sizes(step_unit="posterior") == (0.45, 1.0)
    assert sizes(step_unit="posterior", step_size=0.2) == (0.2, 1.0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["name", "seed", "data", "model", "training", "output_dir"]) | st.text(max_size=5)


@pytest.mark.slow
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
    with pytest.raises(MedlangevinError, match=re.escape(said)) as caught:
        load_config(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_the_configuration_of_a_run_is_read_as_it_stands(tmp_path):
    config = load_config(write(tmp_path, "name: new\nmodel: {kind: qsl_vae}"))
    text = dump_config(config)
    assert load_config(write(tmp_path, text)) == config
    with pytest.raises(MedlangevinError, match="has no effect here"):
        load_config(write(tmp_path, text.replace("bound: annealed", "bound: annealed\n    noise: 0.5")))


def test_each_network_has_its_own_defaults():
    def network(**settings_: Any) -> tuple[tuple[int, ...], int]:
        found = ModelConfig.model_validate({"kind": "vae", "network": settings_}).network
        assert isinstance(found, ConvNetwork | Conv5Network)
        return found.channels, found.hidden

    assert network() == network(kind="conv") == ((16, 32, 64), 256)
    assert network(kind="conv5") == ((16, 32, 32), 450)
    assert network(kind="conv5", channels=[8]) == ((8,), 450)
    assert network(kind="conv5", hidden=9) == ((16, 32, 32), 9)


@pytest.mark.parametrize(("setting", "key"), [("channels: [1, 1, 1, 1, 1]", "channels"), ("hidden: 0", "hidden")])
def test_conv5_is_checked_as_conv_is(tmp_path, setting, key):
    with pytest.raises(MedlangevinError, match=rf"'model\.network\.{key}'"):
        load_config(write(tmp_path, MINIMAL), (f"model.network={{kind: conv5, {setting}}}",))


def test_forces_want_smooth_networks():
    for kind, activation in (("vae", "relu"), ("hvae", "softplus"), ("qsl_vae", "softplus")):
        network = ModelConfig.model_validate({"kind": kind, "network": {"kind": "mlp"}}).network
        assert isinstance(network, MLPNetwork)
        assert network.activation == activation
