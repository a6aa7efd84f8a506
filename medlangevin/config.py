"""The YAML schema of a training run. Unknown keys are errors that name the nearest right key."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from medlangevin.errors import MedlangevinError


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take yes and no for 1 and 0
        raise ValueError("a number is needed, not yes or no")
    return value


# Numbers may also come as text: YAML 1.1 reads 1e-3, without a point, as a string.
Float = Annotated[float, BeforeValidator(_refuse_boolean), Field(allow_inf_nan=False)]
Integer = Annotated[int, BeforeValidator(_refuse_boolean)]
Positive = Annotated[Float, Field(gt=0)]
NonNegative = Annotated[Float, Field(ge=0)]
Count = Annotated[Integer, Field(ge=1)]
# Wider networks do not fit the memory of any machine this is meant for; a slip of the keyboard does.
Width = Annotated[Integer, Field(ge=1, le=16384)]


class Section(BaseModel):
    """One mapping of the YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """Where the crops are and how HU become the network's input.

    ``root``: a folder that ``medlangevin preprocess`` wrote. ``window_hu``: HU are clipped to this range and mapped
    to [0, 1]. ``cache_mb``: memory for decoded crops (0.6 MB each); the crops beyond it are read again every epoch,
    by ``num_workers`` processes if not 0.
    """

    root: Path = Path("data/cochlea")
    window_hu: tuple[Float, Float] = (-1000.0, 2500.0)
    cache_mb: Annotated[Integer, Field(ge=0)] = 2048
    num_workers: Annotated[Integer, Field(ge=0, le=64)] = 0

    @model_validator(mode="after")
    def _window_is_ordered(self) -> "DataConfig":
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError("window_hu must be [low, high] with low < high")
        return self


class NetworkConfig(Section):
    """Encoder: strided 3D convolutions with ``channels`` filters, softplus, a dense layer; the decoder mirrors it."""

    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=4)] = (16, 32, 64)
    hidden: Width = 256


class LikelihoodConfig(Section):
    """p(x | z): Gaussian on windowed HU with one learned global scale, at first ``initial_scale`` (window units)."""

    kind: Literal["gaussian"] = "gaussian"
    initial_scale: Positive = 0.1


class FlowConfig(Section):
    """The quasi-symplectic Langevin flow (docs/mathematics.md).

    ``steps`` K >= 1; ``step_size`` t in (0, ``max_step_size``), learned per dimension when ``learn_step_size``;
    ``damping`` nu >= 0; ``noise`` sigma >= 0; ``initial_temperature`` T0 > 0 of the velocity.
    The flow is stable while t < 2 / sqrt(curvature of the potential). On 60 x 50 x 50 crops the curvature reaches 1e5,
    so t has to stay below 0.006; on 28 x 28 images 0.1 is usual.
    """

    steps: Count = 5
    step_size: Positive = 0.001
    max_step_size: Positive = 0.05
    learn_step_size: bool = True
    damping: NonNegative = 0.1
    noise: NonNegative = 0.0
    initial_temperature: Positive = 1.0

    @model_validator(mode="after")
    def _step_size_below_maximum(self) -> "FlowConfig":
        if self.step_size >= self.max_step_size:
            raise ValueError("step_size must be smaller than max_step_size")
        return self


class ModelConfig(Section):
    """Which latent-variable model, and its parts."""

    kind: Literal["vae", "qsl_vae"]
    latent_dim: Width = 32
    network: NetworkConfig = NetworkConfig()
    likelihood: LikelihoodConfig = LikelihoodConfig()
    flow: FlowConfig = FlowConfig()


class TrainingConfig(Section):
    """The optimisation: Adam, early stopping on the validation ELBO after ``patience`` epochs without a gain.

    The learning rate rises linearly over ``warmup_epochs``, then stays (``constant``) or falls to zero along half a
    cosine at the last epoch (``cosine``).
    """

    epochs: Count = 200
    batch_size: Count = 10
    learning_rate: Positive = 1e-3
    learning_rate_schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: Annotated[Integer, Field(ge=0)] = 0
    gradient_clip: Positive = 100.0
    patience: Count = 30
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"


class Config(Section):
    """A whole run: it lives in ``output_dir/name``."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    output_dir: Path = Path("runs")
    seed: Annotated[Integer, Field(ge=0, lt=2**32)] = 0
    data: DataConfig = DataConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()

    @property
    def run_dir(self) -> Path:
        """The folder of this run."""
        return self.output_dir / self.name


def load_config(path: Path | str, overrides: tuple[str, ...] = ()) -> Config:
    """Read and check a YAML file; ``overrides``, ``section.key=value`` with the value as YAML, win over it.

    Raises MedlangevinError with one line: file, key, what is wrong with it, the nearest right key if it is unknown.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MedlangevinError(f"config {path} does not exist; see configs/ for examples") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MedlangevinError(f"config {path} cannot be read as a text file ({error})") from error
    raw = _drop_empty(_parse_yaml(text, str(path)))
    if not isinstance(raw, dict):
        raise MedlangevinError(f"config {path} is not a mapping of keys to values; see configs/ for examples")
    for override in overrides:
        _apply_override(raw, override)
    return parse_config(raw, source=str(path))


def parse_config(raw: dict[str, Any], *, source: str) -> Config:
    """Check a mapping against the schema. ``source`` is named in errors. Raises MedlangevinError."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(_explain(item) for item in error.errors())
        raise MedlangevinError(" ".join(f"{source}: {problems}".split())) from error


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML text that ``load_config`` reads back to an equal object."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML lets the last of two equal keys win in silence; here they are an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"key '{twice}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _parse_yaml(text: str, where: str) -> Any:
    # Anchors and aliases are not part of the schema, and refusing them disarms "billion laughs" documents.
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise MedlangevinError(f"{where}: YAML aliases (*name) are not supported; write the value out")
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise MedlangevinError(f"{where} is not valid YAML: {detail}") from error


def _drop_empty(value: Any, location: tuple[str, ...] = ()) -> Any:
    """Without the known keys that have no value: ``training:`` with nothing below it means the defaults."""
    if not isinstance(value, dict):
        return value
    known = _keys_at(list(location))
    return {
        key: _drop_empty(item, (*location, str(key)))
        for key, item in value.items()
        if item is not None or key not in known
    }


def _apply_override(raw: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise MedlangevinError(f"--set {override}: expected key=value, for example --set training.epochs=5")
    *parents, leaf = key.split(".")
    section: Any = raw
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise MedlangevinError(f"--set {override}: {parent} is a value, not a section")
    section[leaf] = _parse_yaml(value, f"--set {override}")


def _explain(error: Any) -> str:
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        right = _keys_at(location[:-1])
        nearest = difflib.get_close_matches(location[-1], right, n=1, cutoff=0.5)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"keys here: {', '.join(right)}"
        return f"unknown key '{key}'; {hint}"
    if error["type"] == "invalid_key":
        return f"unknown key '{location[0] if location else key}'; keys are words"
    if error["type"] == "missing":
        return f"key '{key}' is missing"
    message = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = f" (given: {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    return f"'{key}': {message[:1].lower()}{message[1:]}{shown}"


def _keys_at(location: list[str]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location:
        field = section.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)
