"""Lightning Fabric, loaded without torchmetrics: it loads that for its version alone, a third of a training's start."""

import sys

_spare = "torchmetrics" not in sys.modules
if _spare:
    sys.modules["torchmetrics"] = None  # type: ignore[assignment]  # to an import: not installed
try:
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException
finally:
    if _spare:
        del sys.modules["torchmetrics"]

__all__ = ["Fabric", "MisconfigurationException"]
