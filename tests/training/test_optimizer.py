"""Which parameters shrink under weight decay."""

from medlangevin.config import parse_config
from medlangevin.models import build
from medlangevin.training.optimizer import make_optimizer


def test_weights_of_layers_alone_decay() -> None:
    raw = {
        "name": "a",
        "model": {
            "kind": "qsl_vae",
            "latent_dim": 2,
            "network": {"kind": "mlp", "widths": [3], "layer_norm": True, "activation": "softplus"},
        },
        "training": {"weight_decay": 0.1},
    }
    config = parse_config(raw, source="test")
    model = build(config.model, (1, 4, 4))
    names = {id(value): name for name, value in model.named_parameters()}
    decaying, others = (
        {names[id(value)] for value in group["params"]} for group in make_optimizer(model, config.training).param_groups
    )
    assert decaying == {
        "encoder.features.dense.layers.0.weight",
        "encoder.head.weight",
        "decoder.dense.layers.0.weight",
        "decoder.last.weight",
    }
    assert {"decoder.dense.norms.0.weight", "step_size_logit", "likelihood.log_scale"} <= others
    assert len(decaying) + len(others) == len(names)
