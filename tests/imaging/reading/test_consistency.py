import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from medlangevin.imaging.reading.consistency import continuity_problem, odd_slices, step_ratio
from medlangevin.imaging.reading.decode import read_stack
from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.imaging.registration.quality import STEP_OK

# 40 slices of 0.6 mm: a gap in the middle leaves 10 mm and more on both sides.
COUNT, STEP_MM = 40, 0.6


@pytest.fixture(scope="module")
def scan():
    """(k, j, i) int16: smooth anatomy with bone, and noise."""
    rng = np.random.default_rng(0)
    anatomy = gaussian_filter(rng.normal(size=(COUNT, 40, 36)), 2.5)
    return np.rint(500 + anatomy / anatomy.std() * 700 + rng.normal(0, 120, anatomy.shape)).astype(np.int16)


def volumes(folder, write_slice, scan, tags=lambda k: {}):
    for k in range(COUNT):
        write_slice(folder / f"s{k}", scan[k], (0, 0, k * STEP_MM), **tags(k))
    (series,) = ingest(folder).series
    return [read_stack(stack) for stack in stacks(series.slices)]


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": 1.05},
        {"RescaleIntercept": 30},
        {"PixelPaddingValue": 500},
        {"PixelRepresentation": 0},
        {"BitsStored": 12, "HighBit": 11},
    ],
    ids=lambda tags: "-".join(tags),
)
def test_a_slice_with_another_scale_is_left_out_and_leaves_a_gap(tmp_path, write_slice, scan, tags):
    found = volumes(tmp_path, write_slice, scan, lambda k: tags if k == 18 else {})
    assert [image.GetSize()[2] for image in found] == [18, 21]
    assert np.isclose(found[1].GetOrigin()[2], 19 * STEP_MM)


def test_a_series_cut_short_by_it_says_so(tmp_path, write_slice, scan):
    with pytest.raises(UnusableSeriesError) as caught:
        volumes(tmp_path, write_slice, scan, lambda k: {"RescaleSlope": 2} if k in (12, 26) else {})
    assert caught.value.reason.code == "mixed-scale"
    assert "2 slices have another rescale" in caught.value.reason.text


def test_scales_that_vary_from_slice_to_slice_are_kept(tmp_path, write_slice, scan):
    # HU = stored * slope + intercept: whole numbers for slopes of 1 and intercepts of their own.
    shifted = np.stack([scan[k] - np.int16(k) for k in range(COUNT)])
    (image,) = volumes(tmp_path, write_slice, shifted, lambda k: {"RescaleIntercept": k})
    assert image.GetSize()[2] == COUNT


# The one neighbour of an end is no measure of how far a slice from elsewhere may be.
INSIDE, ENDS = [1, 2, 20, COUNT - 2], [0, COUNT - 1]


@pytest.mark.parametrize(
    ("damage", "at"),
    [(damage, at) for damage in ("scaled", "zeros", "half") for at in ENDS + INSIDE]
    + [("another", at) for at in INSIDE],
)
def test_one_slice_that_does_not_fit_is_found_wherever_it_lies(scan, at, damage):
    harmed = scan.copy()
    if damage == "scaled":
        harmed[at] = np.clip(scan[at].astype(int) * 3 - 1024, -1024, 32000)
    elif damage == "half":
        harmed[at, 12:] = 3000
    else:
        harmed[at] = -1024 if damage == "zeros" else scan[(at + 20) % COUNT]
    assert odd_slices(harmed) == [at]


def test_two_slices_in_each_others_place_are_found(tmp_path, write_slice, scan):
    swapped = scan.copy()
    swapped[[10, 25]] = scan[[25, 10]]
    with pytest.raises(UnusableSeriesError) as caught:
        volumes(tmp_path, write_slice, swapped)
    assert caught.value.reason.code == "odd-slice"
    assert "2 of 40 slices" in caught.value.reason.text


def test_an_empty_slice_at_either_end_is_left_out(tmp_path, write_slice, scan):
    harmed = scan.copy()
    harmed[[0, -1]] = -1024
    (image,) = volumes(tmp_path, write_slice, harmed)
    assert np.isclose(image.GetOrigin()[2], STEP_MM)
    assert np.array_equal(sitk.GetArrayFromImage(image), np.clip(scan[1:-1], -1024, None))


def test_sound_volumes_pass_whatever_their_noise_and_steps(scan):
    rng = np.random.default_rng(1)
    assert continuity_problem(scan) is None
    assert continuity_problem(rng.normal(0, 300, scan.shape).astype(np.int16)) is None
    assert continuity_problem(np.full(scan.shape, 700, np.int16)) is None
    assert continuity_problem(np.repeat(scan, 2, axis=0)) is None
    # The scan leaves the head: air from one slice to the next.
    assert continuity_problem(np.concatenate([scan, np.full_like(scan, -1024)])) is None
    ramp = np.arange(COUNT, dtype=np.int16)[:, None, None] * 50 + np.zeros((1, 40, 36), np.int16)
    assert continuity_problem(ramp) is None


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("damage", ["shifted", "slices left out", "slices twice"])
def test_two_blocks_that_join_with_a_step_stand_out_along_any_axis(scan, damage, axis):
    second = scan[20:]
    if damage == "shifted":
        second = np.roll(second, 3, axis=2)
    else:
        second = scan[24:] if damage == "slices left out" else scan[15:]
    stepped = np.concatenate([scan[:20], second])
    assert odd_slices(stepped) == []
    assert step_ratio(np.moveaxis(stepped, 0, axis)) > STEP_OK + 0.2


def test_differences_that_are_known_give_their_ratio():
    levels = np.cumsum([0, 10, 10, 10, 25, 10, 12.5, 10, 10])
    texture = np.arange(36).reshape(6, 6)
    volume = np.rint(2 * levels[:, None, None] + texture).astype(np.int16)
    assert step_ratio(volume) == pytest.approx(2.0)


def test_volumes_of_one_piece_have_no_step(scan):
    rng = np.random.default_rng(1)
    air = np.full((10, *scan.shape[1:]), -1024, np.int16)
    for sound in (
        scan,
        rng.normal(0, 300, scan.shape).astype(np.int16),
        np.full(scan.shape, 700, np.int16),
        np.repeat(scan, 2, axis=0),
        np.concatenate([air, scan, air]),
        scan[:3],
    ):
        assert step_ratio(sound) < STEP_OK - 0.05
