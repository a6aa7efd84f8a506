"""The report's viewer: volumes that the page holds, paged through or moved along latent directions."""

import base64
import gzip
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from medlangevin.system.nifti import make_nifti

GREYS = 255


class Volume(NamedTuple):
    """A volume in HU (i, j, k).

    Attributes:
        name: What to call it in a file.
        label: What to call it for a reader.
        hu: The values.
    """

    name: str
    label: str
    hu: np.ndarray


class Direction(NamedTuple):
    """Volumes along one latent direction, in order; ``label`` says which."""

    label: str
    volumes: list[Volume]


def viewer_data(
    volumes: list[Volume], directions: list[Direction], *, affine: np.ndarray, window_hu: tuple[float, float]
) -> dict[str, Any]:
    """Pack volumes for viewer.html.j2, with values in 256 steps.

    Args:
        volumes: At least one; they are listed in this order.
        directions: What the sliders move along.
        affine: (4, 4), voxel to RAS mm, of all volumes.
        window_hu: The bounds between which values are kept.

    Returns:
        What JSON can hold: ``window``, and ``volumes`` and ``directions`` with each volume as a base64 NIfTI file.
    """

    def packed(volumes: list[Volume]) -> list[dict[str, str]]:
        return [
            {"name": name, "label": label, "nifti": _base64_nifti(hu, affine, window_hu)} for name, label, hu in volumes
        ]

    return {
        "window": list(window_hu),
        "volumes": packed(volumes),
        "directions": [{"label": item.label, "volumes": packed(item.volumes)} for item in directions],
    }


def _base64_nifti(hu: np.ndarray, affine: np.ndarray, window_hu: tuple[float, float]) -> str:
    low, high = window_hu
    greys = np.rint((np.clip(hu, low, high) - low) / (high - low) * GREYS).astype(np.uint8)
    image = make_nifti(greys, affine)
    image.header.set_slope_inter((high - low) / GREYS, low)
    return base64.b64encode(gzip.compress(image.to_bytes(), mtime=0)).decode()


def inline(name: str) -> str:
    """Read a style or a script of the package, made safe to stand inside a page.

    Args:
        name: The file's name in the folder ``page``.

    Returns:
        The text, in which nothing ends a script element.
    """
    text = (files("medlangevin.reports") / "page" / name).read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script")
