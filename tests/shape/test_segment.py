import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medlangevin.shape import coordinates, surface
from medlangevin.shape.levels import NoLumenError, deconvolve
from medlangevin.shape.measure import measure
from medlangevin.shape.segment import segment_lumen


def _volume(lumen):
    return surface.volume_and_centroid(surface.mesh_of(lumen.level, lumen.affine))[0]


def _tube(uvh, begin, end, radius):
    begin, end = np.asarray(begin, float), np.asarray(end, float)
    along = np.clip((uvh - begin) @ (end - begin) / ((end - begin) @ (end - begin)), 0, 1)
    return radius - np.linalg.norm(uvh - begin - along[..., None] * (end - begin), axis=-1)


def test_volume_of_an_imaged_spiral_is_that_of_its_level_set(spiral_ct, spiral_distance, affine, uvh):
    truth = np.minimum(spiral_distance, coordinates.vestibule_cut_distance(uvh))
    truth = surface.volume_and_centroid(surface.mesh_of(truth, affine))[0]
    lumen = segment_lumen(spiral_ct, affine)
    assert _volume(lumen) == pytest.approx(truth, rel=0.03)
    assert lumen.notes == ()
    assert lumen.levels.half == pytest.approx((15 + 2100) / 2, rel=0.06)


@pytest.mark.parametrize(
    ("begin", "end", "radius", "neck"),
    [
        # Internal auditory canal under the modiolus, joined to the first turn by a hole wider than the opening.
        ((0, 0, -5), (0, 0, -1.6), 1.5, ((0, 0, -2), (-2.8, -2.1, 0.2), 0.45)),
        # Facial canal beside the basal turn.
        ((1.5, -5.2, -2), (1.0, -5.0, 2), 0.6, ((1.2, -5.1, 0), (0.6, -3.6, 0.1), 0.3)),
    ],
)
def test_a_space_joined_by_a_hole_does_not_leak_in(
    spiral_distance, spiral_ct, as_ct, affine, uvh, begin, end, radius, neck
):
    leaky = np.maximum.reduce([spiral_distance, _tube(uvh, begin, end, radius), _tube(uvh, *neck)])
    alone = _volume(segment_lumen(spiral_ct, affine))
    assert (leaky > 0).sum() > 1.04 * (spiral_distance > 0).sum()
    assert _volume(segment_lumen(as_ct(leaky), affine)) == pytest.approx(alone, rel=0.04)


def test_the_vestibule_is_cut_off(spiral_distance, spiral_ct, as_ct, affine, uvh):
    vestibule = 2.0 - np.linalg.norm(uvh - np.array([4.8, -0.6, -1.6]), axis=-1)
    joined = np.maximum.reduce([spiral_distance, vestibule, _tube(uvh, (4.4, 1.6, -0.2), (4.8, -0.6, -1.6), 0.9)])
    lumen = segment_lumen(as_ct(joined), affine)
    assert _volume(lumen) == pytest.approx(_volume(segment_lumen(spiral_ct, affine)), rel=0.06)
    assert coordinates.vestibule_cut_distance(uvh)[lumen.level > 0].min() >= 0


def test_the_layer_between_air_and_bone_is_not_lumen(spiral_distance, spiral_ct, affine, uvh):
    # A thin wall, as at the round window, joins the lumen to the layer of fluid's grey value around air.
    cavity = 1.0 - np.linalg.norm(uvh - np.array([0.3, 5.7, 0.0]), axis=-1)
    fluid, air = (np.clip(distance / 0.2 + 0.5, 0, 1) for distance in (spiral_distance, cavity))
    hu = gaussian_filter((2100 + fluid * (15 - 2100)) * (1 - air) - 1000 * air, 0.9)
    assert _volume(segment_lumen(hu, affine)) == pytest.approx(_volume(segment_lumen(spiral_ct, affine)), rel=0.01)


def test_another_grey_scale_gives_the_same_lumen(spiral_ct, affine):
    level = segment_lumen(spiral_ct, affine).level
    assert segment_lumen(0.55 * spiral_ct + 80, affine).level == pytest.approx(level, abs=1e-9)


def test_a_grid_stored_the_other_way_round_gives_the_same_volume(spiral_ct, affine):
    flipped = affine.copy()
    flipped[:3, 0] *= -1
    flipped[:3, 3] += affine[:3, 0] * (spiral_ct.shape[0] - 1)
    turned = segment_lumen(spiral_ct[::-1], flipped)
    assert _volume(turned) == pytest.approx(_volume(segment_lumen(spiral_ct, affine)), rel=1e-3)


def test_smoother_volumes_keep_their_volume(spiral_ct, affine):
    sharp = _volume(segment_lumen(spiral_ct, affine))
    smooth = _volume(segment_lumen(gaussian_filter(spiral_ct, 1.0), affine))
    assert smooth == pytest.approx(sharp, rel=0.05)


def test_deconvolution_undoes_a_blur_and_keeps_the_mean():
    x = np.arange(40) * 0.2
    wave = np.broadcast_to(np.cos(2 * np.pi * x / 2.0)[:, None, None], (40, 12, 12))
    sigma = 0.2
    blurred = wave * np.exp(-0.5 * (2 * np.pi / 2.0 * sigma) ** 2)
    restored = deconvolve(blurred + 5.0, np.full(3, 0.2), psf_sigma_mm=sigma, smoothness=1e-5)
    assert restored[15:25] == pytest.approx(wave[15:25] + 5.0, abs=0.02)


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (np.full((60, 50, 50), 2000.0), "no contrast"),
        (np.zeros((4, 50, 50)), "at least 8 voxels"),
        (np.zeros((20, 20, 20)), "does not cover"),
    ],
)
def test_without_a_lumen_nothing_is_measured_and_the_reason_is_given(volume, words, affine):
    with pytest.raises(NoLumenError, match=words):
        segment_lumen(volume, affine)
    result = measure(volume, affine)
    assert np.isnan(result.volume_mm3)
    assert words in result.note


def test_noise_alone_is_no_cochlea(affine):
    with pytest.raises(NoLumenError):
        segment_lumen(np.random.default_rng(0).normal(1500, 150, (60, 50, 50)), affine)
