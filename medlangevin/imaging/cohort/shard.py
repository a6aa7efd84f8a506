"""Shares of a cohort for the array jobs of a cluster: who is in which share depends on the pseudonym alone."""

import hashlib
import re
from typing import NamedTuple

from medlangevin.errors import MedlangevinError


class Shard(NamedTuple):
    """Share ``number`` (from 1) ``of`` so many."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """``3/20`` to the third of twenty shares. Raises MedlangevinError."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if not 1 <= shard.number <= shard.of:
        raise MedlangevinError(f"shard {text!r} is no share; give its number and how many there are, as in 3/20")
    return shard


def shard_of(subject: str, count: int) -> Shard:
    """The share of ``count`` that a person belongs to. Nobody moves when other people are added or taken away."""
    # Not the digits of the pseudonym themselves: the split into training and test data is taken from a hash of them.
    digest = hashlib.sha256(f"shard\0{subject}".encode()).digest()
    return Shard(int.from_bytes(digest[:8]) % count + 1, count)
