"""Which settings of a model go with which others: one table for refusing what is not used and for leaving it out."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

# Values, by dotted key below ``model``, of which each has to be one of those listed.
Condition = Mapping[str, tuple[str, ...]]

_CHAIN: tuple[Condition, ...] = ({"kind": ("hoffman",)}, {"kind": ("lae",), "langevin.update": ("langevin", "mala")})
_TEST: tuple[Condition, ...] = ({"kind": ("hoffman",)}, {"kind": ("lae",), "langevin.update": ("langevin",)})
# A key is used if any of its conditions holds; keys that are not here are always used.
_USES: dict[str, tuple[Condition, ...]] = {
    "network.channels": ({"network.kind": ("conv", "conv5")},),
    "network.hidden": ({"network.kind": ("conv", "conv5")},),
    "network.widths": ({"network.kind": ("mlp",)},),
    "network.activation": ({"network.kind": ("mlp",)},),
    "network.layer_norm": ({"network.kind": ("mlp",)},),
    "likelihood.initial_scale": ({"likelihood.kind": ("gaussian", "discretized_logistic")},),
    "flow": ({"kind": ("hvae", "qsl_vae")},),
    "flow.bound": ({"kind": ("qsl_vae",)},),
    "flow.step_unit": ({"kind": ("qsl_vae",)},),
    "flow.damping": ({"kind": ("qsl_vae",)},),
    "flow.noise": ({"kind": ("qsl_vae",), "flow.bound": ("flow",)},),
    "flow.initial_temperature": (
        {"kind": ("qsl_vae",), "flow.bound": ("flow",)},
        {"kind": ("hvae",), "flow.tempering": ("fixed", "free")},
    ),
    "flow.tempering": ({"kind": ("hvae",)},),
    "planar": ({"kind": ("vae_flow",)},),
    "importance": ({"kind": ("iwae",)},),
    "langevin": ({"kind": ("hoffman", "lae", "ae")},),
    "langevin.update": ({"kind": ("lae",)},),
    "langevin.steps": _CHAIN,
    "langevin.step_size": _CHAIN,
    "langevin.metropolis": _TEST,
    "langevin.scale": ({"kind": ("lae", "ae")},),
    "langevin.posterior_steps": ({"kind": ("lae", "ae")},),
    "langevin.posterior_step_size": ({"kind": ("lae", "ae")},),
}
# Defaults that differ from those of the section's class: where, section, key, value.
_DEFAULTS: tuple[tuple[Condition, str, str, float | str | tuple[int, ...]], ...] = (
    ({"network.kind": ("conv5",)}, "network", "channels", (16, 32, 32)),
    ({"network.kind": ("conv5",)}, "network", "hidden", 450),
    ({"kind": ("hvae", "qsl_vae"), "network.kind": ("mlp",)}, "network", "activation", "softplus"),
    ({"kind": ("hvae",), "flow.tempering": ("fixed", "free")}, "flow", "initial_temperature", 1.5),
    ({"kind": ("qsl_vae",), "flow.step_unit": ("posterior",)}, "flow", "step_size", 0.45),
    ({"kind": ("qsl_vae",), "flow.step_unit": ("posterior",)}, "flow", "max_step_size", 1.0),
)


def is_used(model: BaseModel | dict[str, Any], key: str) -> bool:
    """Whether ``model``, checked or a mapping, uses the setting ``key``, dotted below ``model``."""
    return key not in _USES or any(_holds(model, condition) for condition in _USES[key])


def unused_key(model: BaseModel) -> str | None:
    """The first key that was given and is not used; None if there is none."""
    for name in type(model).model_fields:
        if name not in model.model_fields_set:
            continue
        if not is_used(model, name):
            return name
        section = getattr(model, name)
        given = section.model_fields_set if isinstance(section, BaseModel) else set()
        unused = sorted(key for key in given if not is_used(model, f"{name}.{key}"))
        if unused:
            return f"{name}.{unused[0]}"
    return None


def what_uses(key: str) -> str:
    """What a setting that has no effect needs to have one, in words."""
    conditions = (
        " and ".join(f"{name}: {' or '.join(values)}" for name, values in condition.items()) for condition in _USES[key]
    )
    return f"has no effect here; it goes with {', or with '.join(conditions)}"


def fill_defaults(raw: Any) -> Any:
    """A mapping that is to become a ModelConfig, with the defaults that depend on other settings; not yet checked."""
    for condition, section, key, value in _DEFAULTS:
        if not isinstance(raw, dict) or not _holds(raw, condition):
            continue
        given = raw.get(section, {})
        if isinstance(given, dict) and key not in given:
            raw = {**raw, section: {**given, key: value}}
    return raw


def _holds(model: Any, condition: Condition) -> bool:
    return all(_value_at(model, key) in values for key, values in condition.items())


def _value_at(model: Any, key: str) -> Any:
    for part in key.split("."):
        model = model.get(part) if isinstance(model, dict) else getattr(model, part, None)
    return model
