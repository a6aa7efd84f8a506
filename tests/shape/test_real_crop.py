"""A real cone-beam crop against lines that its annotators drew by hand, in a pose found once by registration."""

import numpy as np
import pytest
import SimpleITK as sitk

from medlangevin.cochlear_frame import ROUND_WINDOW_ANGLE_DEG, SPIRAL_CENTRE_UV
from medlangevin.shape import coil, coordinates, sections
from medlangevin.shape.measure import analyse

# Reference frame to crop: Euler angles (rad) and translation (mm) of SimpleITK's Euler3DTransform.
POSE = (-0.3207, -0.1949, -0.0298, 5.1818, -3.5099, 4.8154)
BONE = 1250.0


def _line(path, pose):
    """Angle (deg from the round window), radius (mm) and length so far (mm) along a line of markups, RAS mm."""
    rows = [line.split(",")[1:4] for line in path.read_text().splitlines() if not line.startswith("#")]
    points = np.array(rows, dtype=float) * [-1, -1, 1]
    inverse = pose.GetInverse()
    uvh = coordinates.to_modiolar(np.array([inverse.TransformPoint(point.tolist()) for point in points]))
    offset = uvh[:, :2] - SPIRAL_CENTRE_UV
    angle = np.degrees(np.unwrap(np.arctan2(offset[:, 1], offset[:, 0]))) - ROUND_WINDOW_ANGLE_DEG
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(uvh, axis=0), axis=1))])
    return angle, np.hypot(*offset.T), length


@pytest.fixture(scope="module")
def crop(shared_data, affine, on_grid):
    folder = shared_data / "data" / "ct" / "real_cochlea_crop"
    if not folder.is_dir():
        pytest.skip(f"no real cochlea: {folder} is absent")
    pose = sitk.Euler3DTransform()
    pose.SetParameters(POSE)
    image = sitk.Cast(sitk.ReadImage(str(folder / "MdlDvRc.nrrd")), sitk.sitkFloat32)
    return folder, pose, analyse(on_grid(image, pose, outside=BONE), affine)


@pytest.mark.parametrize("end_deg", [360.0, 700.0])
def test_the_lateral_wall_is_as_long_as_the_line_drawn_by_hand(crop, end_deg):
    folder, pose, found = crop
    angle, _, length = _line(folder / "MdlDvRc_StLtPt.fcsv", pose)
    assert length[-1] == pytest.approx(43.43, abs=0.01)
    by_hand = np.interp(end_deg, angle, length) - np.interp(0.0, angle, length)
    # The sections that measures keep end with the resolved part; the wall goes on.
    cuts = sections.cut_sections(found.lumen, coil.trace(found.lumen))
    start = coil.wall_from_round_window(found.lumen, np.arange(0.0, 30.0, 5.0))
    assert sections.wall_length(cuts, start, end_deg=end_deg) == pytest.approx(by_hand, rel=0.02)


def test_the_far_wall_of_a_lies_where_it_was_read_by_hand(crop):
    folder, pose, found = crop
    angle, radius, length = _line(folder / "MdlDvRc_AvPt.fcsv", pose)
    assert length[-1] == pytest.approx(8.81, abs=0.01)
    assert coil.lateral_wall_radius(found.lumen, float(angle[1])) == pytest.approx(radius[1], abs=0.3)
    # The near end was set at the centre of the round window, inside the wall at which A begins here.
    assert found.measures.a_mm - length[-1] == pytest.approx(1.05, abs=0.3)


def test_an_apex_that_is_not_resolved_leaves_the_whole_length_missing(crop):
    _, _, found = crop
    assert np.isnan(found.measures.turns)
    assert np.isnan(found.measures.lateral_wall_mm)
    assert "lateral wall" in found.measures.note
