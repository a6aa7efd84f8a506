"""Runs of the first version: their config.yaml lists every section, also those that the kind of model does not use."""

from typing import Any

from medlangevin.config.relevance import is_used


def upgrade(raw: dict[str, Any]) -> dict[str, Any]:
    """The mapping of a run's config.yaml as the present schema takes it; unchanged if the present version wrote it.

    The first version knew one kind of network and one bound, the published flow.
    """
    model = raw.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("network"), dict) or "kind" in model["network"]:
        return raw
    model = {**model, "network": {"kind": "conv", **model["network"]}}
    if model.get("kind") == "qsl_vae" and isinstance(model.get("flow"), dict):
        model["flow"] = {"bound": "flow", **model["flow"]}
    for name, section in list(model.items()):
        if not is_used(model, name):
            del model[name]
        elif isinstance(section, dict):
            model[name] = {key: value for key, value in section.items() if is_used(model, f"{name}.{key}")}
    return {**raw, "model": model}
