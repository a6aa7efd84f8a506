"""Block matching against known answers: brute force, exact rigid motions, outliers, and a moved image."""

import itertools

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from medlangevin.imaging.registration.block_matching import (
    Motion,
    choose_blocks,
    kabsch,
    least_trimmed_squares,
    match_blocks,
)

SPACING_MM = 0.8
ORIGIN_MM = np.array([-9.0, 4.0, 20.0])


def texture(shape=(28, 26, 24), seed=0, sigma=1.6):
    values = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma, mode="wrap")
    return torch.from_numpy((values / values.std()).astype(np.float32))


def everywhere(image):
    return torch.ones(image.shape, dtype=torch.bool)


def turn(angle_deg, axis):
    axis = np.array(axis, dtype=float)
    return Rotation.from_rotvec(angle_deg * axis / np.linalg.norm(axis), degrees=True).as_matrix()


def points(count, seed=0):
    return np.random.default_rng(seed).uniform(-10, 10, (count, 3))


def test_kabsch_gives_the_motion_between_points_that_correspond_exactly():
    rotation, translation = turn(33.0, (1, -2, 3)), np.array([4.0, -5.0, 6.0])
    source = points(7)
    found_rotation, found_translation = kabsch(source, source @ rotation.T + translation)
    assert np.allclose(found_rotation, rotation, atol=1e-12)
    assert np.allclose(found_translation, translation, atol=1e-11)


def test_kabsch_never_mirrors_and_works_on_many_sets_at_once():
    source = np.stack([points(5, seed) for seed in range(4)])
    target = source * (-1, 1, 1)
    rotation, translation = kabsch(source, target)
    assert rotation.shape == (4, 3, 3)
    assert translation.shape == (4, 3)
    assert np.allclose(np.linalg.det(rotation), 1.0)


def fitted(source: np.ndarray, target: np.ndarray, keep: float = 0.5) -> Motion:
    motion = least_trimmed_squares(source, target, keep=keep)
    assert motion is not None
    return motion


def test_least_trimmed_squares_is_exact_with_forty_percent_outliers_and_least_squares_is_not():
    generator = np.random.default_rng(1)
    rotation, translation = turn(12.0, (0, 1, 1)), np.array([1.0, 2.0, -1.0])
    source = points(200)
    target = source @ rotation.T + translation
    outliers = np.arange(200) % 5 < 2
    # All to one side: scattered ones would cancel out in least squares.
    target[outliers] += np.array([6.0, 0.0, 3.0]) + generator.uniform(-2, 2, (80, 3))
    motion = fitted(source, target, keep=0.5)
    assert np.allclose(motion.rotation, rotation, atol=1e-9)
    assert np.allclose(motion.translation, translation, atol=1e-8)
    assert motion.kept.sum() == 100
    assert not (motion.kept & outliers).any()
    assert motion.residual_mm < 1e-8
    naive = kabsch(source, target)[1]
    assert np.linalg.norm(naive - translation) > 1.0
    untrimmed = fitted(source, target, keep=1.0)
    assert np.allclose(untrimmed.translation, naive)


def test_least_trimmed_squares_reports_the_median_residual_of_what_it_keeps():
    source = points(400)
    noise = np.random.default_rng(3).normal(0, 0.2, source.shape)
    motion = fitted(source, source + noise, keep=0.5)
    moved = source @ motion.rotation.T + motion.translation
    residual = np.linalg.norm(source + noise - moved, axis=1)
    assert np.isclose(motion.residual_mm, np.median(np.sort(residual)[:200]))
    assert motion.kept.sum() == 200


def test_least_trimmed_squares_is_the_same_every_time():
    source = points(60)
    target = source + np.random.default_rng(5).normal(0, 3.0, source.shape)
    first, second = (fitted(source, target) for _ in range(2))
    assert np.array_equal(first.rotation, second.rotation)


def test_too_few_points_give_no_motion():
    assert least_trimmed_squares(points(2), points(2)) is None


def test_the_most_varied_blocks_are_chosen():
    image = torch.zeros(24, 24, 24)
    image[:, :, 12:] = texture((24, 24, 12))
    blocks = choose_blocks(image, everywhere(image), ORIGIN_MM, SPACING_MM, size=4, stride=2, keep=0.25)
    # A quarter of all, and half the image is flat.
    assert (blocks.starts[:, 2] >= 9).all()
    assert np.isclose(len(blocks.starts), 0.25 * 11**3, atol=1)
    k, j, i = blocks.starts[0].tolist()
    assert np.allclose(blocks.centres_mm[0], ORIGIN_MM + SPACING_MM * (np.array([i, j, k]) + 1.5))


def test_blocks_lie_about_the_mask_only():
    image = texture()
    mask = torch.zeros(image.shape, dtype=torch.bool)
    mask[10:20, 8:18, 6:20] = True
    blocks = choose_blocks(image, mask, ORIGIN_MM, SPACING_MM, size=4, stride=1, keep=1.0)
    assert (blocks.starts >= torch.tensor([8, 6, 4])).all()
    assert (blocks.starts + 3 < torch.tensor([22, 20, 22])).all()


def test_the_search_equals_brute_force():
    fixed, moving = texture(seed=0), texture(seed=0).roll((1, -2, 1), (0, 1, 2)) + 0.5 * texture(seed=1)
    blocks = choose_blocks(fixed, everywhere(fixed), ORIGIN_MM, SPACING_MM, size=4, stride=3, keep=0.2)
    valid = everywhere(moving)
    valid[:, :, 20:] = False
    found = match_blocks(blocks, moving, valid, radius=2, subvoxel=False)
    steps = list(itertools.product(range(-2, 3), repeat=3))
    seen = 0
    for number, start in enumerate(blocks.starts.tolist()):
        own = fixed[tuple(slice(a, a + 4) for a in start)].numpy().ravel()
        scores = []
        for step in steps:
            at = np.add(start, step)
            if (at < 0).any() or (at + 4 > moving.shape).any() or at[2] + 4 > 20:
                scores.append(-1.0)
                continue
            other = moving[tuple(slice(a, a + 4) for a in at)].numpy().ravel()
            scores.append(np.corrcoef(own, other)[0, 1])
        best = int(np.argmax(scores))
        beside = [other for other, step in enumerate(steps) if np.abs(np.subtract(step, steps[best])).max() <= 1]
        if min(scores[other] for other in beside) == -1.0:
            # Half hidden: the true place may lie just beyond what is seen.
            assert found.score[number] == -1.0
            continue
        seen += 1
        assert np.isclose(float(found.score[number]), scores[best], atol=1e-4)
        wanted = blocks.centres_mm[number] + SPACING_MM * np.array(steps[best][::-1])
        assert np.allclose(found.matched_mm[number], wanted)
    assert 20 < seen < len(blocks.starts)


def test_a_shift_of_part_of_a_voxel_is_found():
    fixed = texture((36, 36, 36), sigma=1.3)
    shift = (0.3, -0.4, 1.2)
    # What lies at x in the fixed image lies at x + shift in the moving one.
    grid = np.indices(fixed.shape) - np.array(shift)[:, None, None, None]
    moving = torch.from_numpy(map_coordinates(fixed.numpy(), grid, order=3, mode="grid-wrap").astype(np.float32))
    mask = torch.zeros(fixed.shape, dtype=torch.bool)
    mask[7:29, 7:29, 7:29] = True
    blocks = choose_blocks(fixed, mask, ORIGIN_MM, SPACING_MM, size=5, stride=2, keep=0.5)
    wanted = blocks.centres_mm + SPACING_MM * np.array(shift[::-1])
    errors = []
    for subvoxel in (False, True):
        found = match_blocks(blocks, moving, everywhere(moving), radius=3, subvoxel=subvoxel)
        motion = fitted(blocks.centres_mm, found.matched_mm)
        moved = blocks.centres_mm @ motion.rotation.T + motion.translation
        errors.append(np.linalg.norm(moved - wanted, axis=1).max() / SPACING_MM)
    # In voxels: half the diagonal of what is left of whole ones, and next to nothing.
    assert errors[1] < 0.1
    assert errors[0] > 0.4


def test_a_known_rigid_motion_of_an_image_is_found_in_one_round():
    fixed = texture((40, 40, 40), sigma=1.3)
    rotation, translation = turn(6.0, (1, 2, -1)), np.array([0.9, -0.5, 0.3])
    centre = ORIGIN_MM + SPACING_MM * 19.5
    grid = np.stack(np.meshgrid(*[np.arange(40)] * 3, indexing="ij"), axis=-1)[..., ::-1] * SPACING_MM + ORIGIN_MM
    # Point p of the fixed image lies at R (p - c) + c + t in the moving one.
    back = (grid - centre - translation) @ rotation + centre
    index = ((back - ORIGIN_MM) / SPACING_MM)[..., ::-1]
    moving = map_coordinates(fixed.numpy(), np.moveaxis(index, -1, 0), order=3, mode="grid-wrap").astype(np.float32)
    mask = torch.zeros(fixed.shape, dtype=torch.bool)
    mask[9:31, 9:31, 9:31] = True
    blocks = choose_blocks(fixed, mask, ORIGIN_MM, SPACING_MM, size=5, stride=2, keep=0.5)
    found = match_blocks(blocks, torch.from_numpy(moving), everywhere(fixed), radius=3)
    motion = fitted(blocks.centres_mm, found.matched_mm)
    ours = (blocks.centres_mm - centre) @ rotation.T + centre + translation
    theirs = blocks.centres_mm @ motion.rotation.T + motion.translation
    # A tenth of a voxel: what is left is gone after another round, on the image resampled.
    assert np.linalg.norm(ours - theirs, axis=1).max() < 0.1 * SPACING_MM
