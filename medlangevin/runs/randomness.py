"""Random streams: each purpose has its own generator, derived from the run's one seed.

Nothing has to be carried from epoch to epoch: epoch 7's noise and order follow from the seed and the number 7, so a
resumed run continues exactly, on any device.
"""

import hashlib

import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A seed for one purpose, unrelated to all others.

    Args:
        seed: The run's seed.
        purpose: What it is for, for example ``"noise", epoch``.

    Returns:
        63 bits.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for one purpose.

    Args:
        seed: The run's seed.
        purpose: What it is for.
        device: Where it draws.

    Returns:
        The generator.
    """
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *purpose))


def reseed(stream: torch.Generator, seed: int, *purpose: str | int) -> torch.Generator:
    """Set a generator to where ``generator`` of the same purpose starts: for what holds on to one object.

    Args:
        stream: The generator.
        seed: The run's seed.
        purpose: What it is for.

    Returns:
        ``stream``.
    """
    return stream.manual_seed(derive_seed(seed, *purpose))
