"""What an optimiser remembers, as tensors in a file; what its settings are, the configuration says."""

from typing import Any

import torch


def pack(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The tensors that ``optimizer`` keeps, each called ``<number of its parameter>.<name>``."""
    return {
        f"{parameter}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def unpack(tensors: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Put back what ``pack`` gave. Raises ValueError where it is not what this optimiser keeps of its parameters.

    Torch takes anything for a state and fails, or goes wrong, steps later.
    """
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    kept = _kept(type(optimizer))
    for number, values in state.items():
        if not 0 <= number < len(shapes) or values.keys() != kept.keys():
            raise ValueError(f"parameter {number} is not of this optimiser")
        for name, value in values.items():
            if value.shape != (shapes[number] if kept[name] else ()) or not value.is_floating_point():
                raise ValueError(f"{number}.{name} is no tensor of its parameter")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, kept_of_it in optimizer.state.items():
        for name, value in kept_of_it.items():
            if kept[name]:  # fused optimisers walk through both in the order of memory
                kept_of_it[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _kept(kind: type[Any]) -> dict[str, bool]:
    """The names of what an optimiser keeps of a parameter, and whether it is of the parameter's shape: by a trial."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.zeros(2)
    optimizer = kind([parameter], lr=0.0)
    optimizer.step()
    return {name: value.shape == parameter.shape for name, value in optimizer.state[parameter].items()}
