"""The configuration that the demo trains with."""

import json
from pathlib import Path

from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import require_folder, write_text

# Small enough for two CPU cores and a few minutes; configs/cochlea_qsl.yaml is what a real cohort wants.
CONFIG = """\
# A small QSL-VAE on the phantom's crops, sized for a few minutes on two CPU cores.
name: demo
output_dir: {runs}
data:
  root: {cochlea}
model:
  kind: qsl_vae
  latent_dim: 20
  network:
    warp: 1
    channels: [8, 16, 32]
    hidden: 128
  flow:
    steps: 2
    step_unit: posterior
    vae_epochs: 90
training:
  epochs: 150
  batch_size: 4
  learning_rate: 0.002
  learning_rate_schedule: cosine
  warmup_epochs: 2
"""


# The phantom's ears are nobody's. With a fixed key the same people are trained on every time.
KEY, KEY_FILE = "0" * 64, "demo.key"


def write_demo_config(out: Path) -> Path:
    """Make a folder that of a demo, by writing its configuration there, and the key of its pseudonyms.

    Args:
        out: The folder. A demo of its own in it, also an unfinished one, is gone on with.

    Returns:
        The YAML file.

    Raises:
        MedlangevinError: Where the folder holds other files.
    """
    config = out / "demo.yaml"
    require_folder(out)
    if not config.is_file() and out.is_dir() and any(out.iterdir()):
        raise MedlangevinError(f"{out} holds other files; give an empty or new folder with --out")
    # JSON strings are YAML strings, whatever characters the path has.
    write_text(out / KEY_FILE, KEY)
    write_text(config, CONFIG.format(runs=json.dumps(f"{out}/runs"), cochlea=json.dumps(f"{out}/cochlea")))
    return config
