"""What a volume file's header claims, weighed against the length of the file before memory is set aside for it."""

import math
from collections.abc import Sequence
from pathlib import Path

# gzip packs at most 1032 bytes in one.
MOST_PACKED = 1032
# A crop has 150,000 voxels; 512 x 512 x 512 of them are none, whatever the file's length.
MOST_CROP_VOXELS = 2**27


def can_hold(path: Path, shape: Sequence[int], bytes_a_voxel: int) -> bool:
    """Whether a file of this length, packed or not, can hold so many voxels. Raises OSError where there is none."""
    return min(shape, default=0) > 0 and math.prod(shape) * bytes_a_voxel <= MOST_PACKED * path.stat().st_size


def can_be_crop(path: Path, shape: Sequence[int], bytes_a_voxel: int) -> bool:
    """Whether it can, and the voxels are few enough for a crop."""
    return math.prod(shape) <= MOST_CROP_VOXELS and can_hold(path, shape, bytes_a_voxel)
