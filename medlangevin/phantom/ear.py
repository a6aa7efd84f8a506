"""One drawn ear of a cohort: its shape, pose, scan and headers, and the truth about it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medlangevin.phantom.dicom import (
    HeaderVariant,
    Patient,
    choose_variant,
    identifying_strings,
    invent_patient,
    make_uid,
)
from medlangevin.phantom.frame import FloatArray, apply, rotation_matrix
from medlangevin.phantom.measures import cochlea_points, cochlear_measures, landmarks, reference_to_ear
from medlangevin.phantom.render import Anatomy, Tissues
from medlangevin.phantom.scan import MIRROR, SCAN_CENTRE, Acquisition, Geometry, ear_to_lps
from medlangevin.phantom.shape import ShapeParameters, sample_shape
from medlangevin.phantom.surroundings import Surroundings

SPACINGS = ((0.185, 0.185, 0.25), (0.2, 0.2, 0.3), (0.25, 0.25, 0.5))
SPACING_SHARES = (0.5, 0.3, 0.2)
LARGEST_ROTATION_DEG = 15.0
FRAME_DEFINITION = (
    "LPS mm. Reference frame: a RIGHT ear (+x medial, +y posterior, +z superior), origin near the centroid of the mean "
    "cochlear lumen surface. T_reference_to_lps (det +1, no scale) = head motion @ least-squares rigid fit of the "
    "average ear to this one (half the weight on cochlear wall points, half on vestibule and canals); for a left ear "
    "p_lps = T @ diag(-1,1,1,1) @ p_reference. _cochlea_only: the fit uses the cochlear wall alone. The cochlea begins "
    "12 degrees before the round window, where the duct opens into the vestibule, and ends at the helicotrema; its "
    "volume is closed by plane caps there, its surface is without them. A, B: widths through the modiolar axis at the "
    "round window and a quarter turn on; lateral wall from the round window to the helicotrema. Voxel (i,j,k) centre "
    "= origin + D @ (spacing * (i,j,k))."
)


@dataclass(frozen=True)
class PhantomEar:
    """One drawn ear with its head pose and scan.

    Attributes:
        scan: Name of its truth file.
        rng_key: Seed of the cohort and number of the ear.
        side: L or R.
        shape: Its shape parameters.
        anatomy: Everything that decides its picture.
        rotation_deg: Rotation of the head, a rotation vector (3,) in degrees.
        to_lps: 4 x 4, from the ear's own frame to the scanner.
        geometry: Voxels of its scan.
        acquisition: Blur and noise of its scan.
        patient: What the headers say of the patient.
        variant: How the study is written.
    """

    scan: str
    rng_key: tuple[int, int]
    side: str
    shape: ShapeParameters
    anatomy: Anatomy
    rotation_deg: FloatArray
    to_lps: FloatArray
    geometry: Geometry
    acquisition: Acquisition
    patient: Patient
    variant: HeaderVariant

    @property
    def study_uid(self) -> str:
        """The StudyInstanceUID."""
        return make_uid("phantom study", *self.rng_key)

    @property
    def series_uid(self) -> str:
        """The SeriesInstanceUID."""
        return make_uid(self.study_uid, "series")

    @property
    def study_folder(self) -> str:
        """The study's folder within the cohort."""
        return f"dicom/study_{int(self.study_uid.removeprefix('2.25.')) % 16**8:08x}"


def _tissues(rng: np.random.Generator) -> Tissues:
    return Tissues(
        fluid=float(rng.uniform(0, 30)),
        soft_tissue=float(rng.uniform(30, 60)),
        modiolus=float(rng.uniform(950, 1350)),
        capsule=float(rng.uniform(2030, 2220)),
        petrous=float(rng.uniform(1340, 1510)),
        ossicle=float(rng.uniform(1800, 2000)),
        texture_sd_hu=float(rng.uniform(50, 90)),
        texture_seed=int(rng.integers(2**32)),
    )


def _surroundings(rng: np.random.Generator) -> Surroundings:
    shift = np.clip(rng.normal(0, 0.4, 3), -1, 1)
    return Surroundings(
        cavity_shift=(float(shift[0]), float(shift[1]), float(shift[2])),
        cavity_size=float(rng.uniform(0.93, 1.05)),
        roof_mm=float(rng.uniform(-0.5, 1.5)),
        posterior_mm=float(rng.uniform(-1.0, 1.5)),
        pneumatisation=float(rng.uniform(0.2, 1.0)),
        cell_seed=int(rng.integers(2**32)),
    )


def draw_ear(seed: int, index: int) -> PhantomEar:
    """Draw an ear of a cohort: it depends on seed and number alone, not on how many ears there are.

    Args:
        seed: Seed of the cohort.
        index: Number of the ear, from 0; even ones are right ears.

    Returns:
        The ear.
    """
    rng = np.random.default_rng([seed, index])
    side = "RL"[index % 2]
    shape = sample_shape(rng)
    anatomy = Anatomy(shape.duct(), shape.labyrinth, _surroundings(rng), _tissues(rng))
    rotation = rng.normal(0, 6, 3)
    rotation *= min(1.0, LARGEST_ROTATION_DEG / float(np.linalg.norm(rotation)))
    sign = 1.0 if side == "L" else -1.0  # +x is the patient's left
    table = np.array([sign * rng.uniform(29, 37), rng.uniform(-230, -190), rng.uniform(-300, 700)])
    to_lps = ear_to_lps(side, rotation, np.round(table, 3))
    spacing = SPACINGS[int(rng.choice(len(SPACINGS), p=SPACING_SHARES))]
    tilt = rng.normal(0, 5) if rng.random() < 0.2 else 0.0
    direction = rotation_matrix(np.array([np.clip(tilt, -10, 10), 0.0, 0.0]))
    centre = apply(to_lps, SCAN_CENTRE) + np.clip(rng.normal(0, 1.2, 3), -2.5, 2.5)
    geometry = Geometry.centred(centre, direction, spacing)
    acquisition = Acquisition(float(rng.uniform(0.15, 0.20)), float(rng.uniform(80, 200)))
    patient, variant = invent_patient(index + 1, rng), choose_variant(rng)
    scan, key = f"ear{index + 1:04d}", (seed, index)
    return PhantomEar(scan, key, side, shape, anatomy, rotation, to_lps, geometry, acquisition, patient, variant)


def _rounded(value: FloatArray, digits: int = 6) -> Any:
    return (np.round(np.asarray(value, dtype=float), digits) + 0.0).tolist()


def _reference_to_lps(ear: PhantomEar, *, cochlea_only: bool) -> FloatArray:
    fit = reference_to_ear(ear.shape, ear.anatomy.duct, cochlea_only=cochlea_only)
    return ear.to_lps @ fit @ (MIRROR if ear.side == "L" else np.eye(4))


def _ear_truth(ear: PhantomEar) -> dict[str, Any]:
    duct, tissues = ear.anatomy.duct, asdict(ear.anatomy.tissues)
    points = {name: _rounded(apply(ear.to_lps, p)) for name, p in landmarks(duct, ear.shape.labyrinth).items()}
    axis_end = points.pop("modiolar_axis_point")
    return {
        "side": ear.side,
        "T_reference_to_lps": _rounded(_reference_to_lps(ear, cochlea_only=False), 9),
        "T_reference_to_lps_cochlea_only": _rounded(_reference_to_lps(ear, cochlea_only=True), 9),
        "landmarks_lps": points,
        "modiolar_axis_base_to_apex": _rounded(np.subtract(axis_end, points["modiolus_centre"])),
        "cochlea_points_lps": _rounded(apply(ear.to_lps, cochlea_points(duct)[::8]), 4),
        **{name: round(value, 4) for name, value in cochlear_measures(duct).items()},
        "shape_parameters": asdict(ear.shape),
        "scene": {**asdict(ear.anatomy.surroundings), **{f"{name}_hu": value for name, value in tissues.items()}},
    }


def truth(ear: PhantomEar) -> dict[str, Any]:
    """Tell everything known about an ear and its scan, ready for JSON.

    Args:
        ear: The ear.

    Returns:
        Lengths in mm, angles in degrees, CT numbers in HU.
    """
    geometry = ear.geometry
    return {
        "scan": ear.scan,
        "study_folder": ear.study_folder,
        "kind": "one ear",
        "seed": ear.rng_key[0],
        "rng_key": list(ear.rng_key),
        "study_instance_uid": ear.study_uid,
        "series_instance_uid": ear.series_uid,
        "frame_definition": FRAME_DEFINITION,
        "geometry": {
            "origin_lps": _rounded(geometry.origin),
            "direction_columns_row_col_slice": _rounded(geometry.direction, 9),
            "spacing_mm": list(geometry.spacing),
            "size_ijk": list(geometry.size),
            "slice_thickness_mm": geometry.spacing[2],
        },
        "acquisition": {**asdict(ear.acquisition), "head_rotation_deg": _rounded(ear.rotation_deg)},
        "dicom": asdict(ear.variant),
        "identifying_strings_in_headers": identifying_strings(ear.patient),
        "ears": [_ear_truth(ear)],
    }
