"""Which of several series of the same ear to take, and how to say so."""

from typing import NamedTuple

from medlangevin.imaging.registration.find_ears import FoundEar


class Seen(NamedTuple):
    """One ear in one series. ``sharpness``: kernel class, 2 bone, 1 unknown, 0 soft.

    ``spacing_mm``: the coarsest of the voxel, or the thickness of its slice where that is more.
    """

    found: FoundEar
    sharpness: int
    spacing_mm: float

    @property
    def rank(self) -> tuple[int, int, float, float]:
        """Smaller is better: trusted before doubtful, sharp kernel before soft, thin slices, then the better fit."""
        doubt = ("ok", "review", "failed").index(self.found.verdict.word)
        return doubt, -self.sharpness, round(self.spacing_mm, 2), -self.found.fit.ncc


def why_better(taken: Seen, other: Seen) -> str:
    """What decided between two series of one ear, in words."""
    for first, second, text in zip(
        taken.rank,
        other.rank,
        (
            f"its registration is trusted more ({taken.found.verdict.word}, here {other.found.verdict.word})",
            "its reconstruction kernel is sharper",
            f"its voxels are finer ({taken.spacing_mm:.2g} mm, here {other.spacing_mm:.2g} mm)",
            f"it fits the reference better (correlation {taken.found.fit.ncc:.3f}, here {other.found.fit.ncc:.3f})",
        ),
        strict=True,
    ):
        if first != second:
            return text
    return "both are equally good, and it comes first"
