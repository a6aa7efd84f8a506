"""Chains of an unfinished sampling in a file, to go on from exactly where they stopped."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from medlangevin.samplers import Chains
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import atomic_path

_OPTIONAL = ("acceptance", "potential", "step_size")


def keep_chains(path: Path, chains: Chains[Any], generator: torch.Generator, key: str) -> None:
    """Write chains and the state of their noise; the file appears whole or not at all.

    Args:
        path: The file.
        chains: All draws so far.
        generator: The source of their noise.
        key: What the chains are of: only who names it again is given them.

    Raises:
        MedlangevinError: The folder cannot be written, or its disk is full.
    """
    tensors = {"positions": chains.positions, "divergences": chains.divergences, "noise": generator.get_state()}
    tensors |= {name: value for name in _OPTIONAL if (value := getattr(chains, name)) is not None}
    tensors |= {f"state.{name}": value for name, value in chains.state._asdict().items() if value is not None}
    with atomic_path(path) as temporary:
        about = {"key": key, "num_gradients": str(chains.num_gradients)}
        try:
            save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, about)
        except SafetensorError as error:  # no OSError, though it stands for one
            what = f"cannot write {path}: {error}"
            raise MedlangevinError(f"{what}; make room, and run the same command again") from error


def kept_chains(path: Path, state: type[Any], generator: torch.Generator, key: str) -> Chains[Any] | None:
    """Read what ``keep_chains`` wrote, and put ``generator`` where it stood.

    Args:
        path: The file, which need not be there.
        state: The class of the chains' state, a NamedTuple.
        generator: The source of their noise.
        key: What the chains have to be of.

    Returns:
        The chains; None where there is no such file, it is damaged, or its chains are of something else: then they are
        sampled anew.
    """
    try:
        with safe_open(path, "pt") as file:
            about, names = file.metadata() or {}, file.keys()
            if about.get("key") != key:
                return None
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in names}
        fields = {name.removeprefix("state."): value for name, value in tensors.items() if name.startswith("state.")}
        chains = Chains(
            positions=tensors["positions"],
            divergences=tensors["divergences"],
            state=state(**fields),
            num_gradients=int(about["num_gradients"]),
            **{name: tensors.get(name) for name in _OPTIONAL},
        )
        generator.set_state(tensors["noise"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        return None
    return chains
