"""The report's viewer: volumes that the page holds, paged through or moved along latent directions."""

import base64
import gzip
import html
import json
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from medlangevin.system.nifti import make_nifti

_PAGE = files("medlangevin.reports") / "page"
GREYS = 255


class Volume(NamedTuple):
    """A volume in HU (i, j, k), with what to call it: ``name`` for a file, ``label`` for a reader."""

    name: str
    label: str
    hu: np.ndarray


class Direction(NamedTuple):
    """Volumes along one latent direction, in order; ``label`` says which."""

    label: str
    volumes: list[Volume]


def viewer(
    volumes: list[Volume], directions: list[Direction], *, affine: np.ndarray, window_hu: tuple[float, float]
) -> str:
    """HTML of the viewer with everything it needs (NiiVue, BSD 2-Clause, see page/NIIVUE_LICENSE).

    ``volumes``: at least one, listed in this order; ``affine``: (4, 4) RAS mm of all. Values are kept in 256 steps
    between the bounds of ``window_hu``.
    """

    def packed(volume: Volume) -> dict[str, str]:
        return {"name": volume.name, "label": volume.label, "nifti": _base64_nifti(volume.hu, affine, window_hu)}

    data = {
        "window": list(window_hu),
        "volumes": [packed(volume) for volume in volumes],
        "directions": [{"volumes": [packed(volume) for volume in item.volumes]} for item in directions],
    }
    options = "".join(f"<option>{html.escape(volume.label)}</option>" for volume in volumes)
    sliders = "".join(_slider(number, item) for number, item in enumerate(directions))
    along = f"<p>Along the leading directions in latent space (SYNTHETIC):</p>{sliders}" if directions else ""
    # "</script>" inside a label would end the element.
    text = json.dumps(data).replace("<", "\\u003c")
    # NiiVue paints the element around its canvas black.
    return f"""<div id="frame">
<canvas id="canvas" tabindex="0" aria-label="The volume named below, in three planes"></canvas>
</div>
<p>Shown: <span id="shown" role="status">loading</span></p>
<div class="controls">
<label for="volume">Volume</label><select id="volume">{options}</select>
<button id="previous" type="button">Previous</button><button id="next" type="button">Next</button>
<label for="layout">View</label><select id="layout">
<option value="planes">three planes and 3D</option><option>axial</option>
<option>coronal</option><option>sagittal</option><option value="render">3D</option></select>
</div>
{along}
<script type="application/json" id="volumes">{text}</script>
<script>{_script("niivue.umd.js")}</script>
<script>{_script("viewer.js")}</script>"""


def _slider(number: int, direction: Direction) -> str:
    last = len(direction.volumes) - 1
    return (
        f'<div class="controls"><label>{html.escape(direction.label)} <input type="range" min="0" max="{last}" '
        f'step="1" value="{last // 2}" data-direction="{number}"></label></div>'
    )


def _base64_nifti(hu: np.ndarray, affine: np.ndarray, window_hu: tuple[float, float]) -> str:
    low, high = window_hu
    greys = np.rint((np.clip(hu, low, high) - low) / (high - low) * GREYS).astype(np.uint8)
    image = make_nifti(greys, affine)
    image.header.set_slope_inter((high - low) / GREYS, low)
    return base64.b64encode(gzip.compress(image.to_bytes(), mtime=0)).decode()


def _script(name: str) -> str:
    """A script of the package, made safe to stand inside a page."""
    return (_PAGE / name).read_text(encoding="utf-8").replace("</script", "<\\/script")
