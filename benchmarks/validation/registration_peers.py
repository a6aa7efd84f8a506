"""Rigid registration by other programs, each as its documentation's default, from the centres of both volumes.

Each takes the fixed scan, the moving scan and an empty folder, and gives the (4, 4) matrix from points of the fixed
scan to points of the moving one (LPS mm), or None where the program failed.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def centre_of(image: sitk.Image) -> tuple[float, ...]:
    """LPS of the middle of a volume."""
    return image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()])


def simpleitk_mutual_information(fixed: sitk.Image, moving: sitk.Image, folder: Path) -> np.ndarray | None:
    """Mattes mutual information over three levels, as in the SimpleITK notebooks."""
    fixed, moving = sitk.Cast(fixed, sitk.sitkFloat32), sitk.Cast(moving, sitk.sitkFloat32)
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.05, 42)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(learningRate=1.0, numberOfIterations=100, convergenceWindowSize=10)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, False)
    try:
        return _matrix_of(method.Execute(fixed, moving))
    except RuntimeError:
        return None


def ants_rigid(fixed: sitk.Image, moving: sitk.Image, folder: Path) -> np.ndarray | None:
    """antspyx, type_of_transform="Rigid"."""
    import ants

    images = []
    for name, image in (("fixed", fixed), ("moving", moving)):
        sitk.WriteImage(image, str(folder / f"{name}.nii"))
        images.append(ants.image_read(str(folder / f"{name}.nii")))
    done = ants.registration(*images, type_of_transform="Rigid", random_seed=1, outprefix=str(folder / "out"))
    return _matrix_of(sitk.ReadTransform(done["fwdtransforms"][0]))


def elastix_rigid(fixed: sitk.Image, moving: sitk.Image, folder: Path) -> np.ndarray | None:
    """itk-elastix, the default rigid parameter map."""
    import itk

    def to_itk(image: sitk.Image) -> Any:
        converted = itk.image_from_array(sitk.GetArrayFromImage(image).astype(np.float32))
        converted.SetOrigin(image.GetOrigin())
        converted.SetSpacing(image.GetSpacing())
        converted.SetDirection(itk.matrix_from_array(np.array(image.GetDirection()).reshape(3, 3)))
        return converted

    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(itk.ParameterObject.GetDefaultParameterMap("rigid"))
    try:
        _, found = itk.elastix_registration_method(
            to_itk(fixed), to_itk(moving), parameter_object=parameters, log_to_console=False, number_of_threads=1
        )
    except RuntimeError:
        return None
    result = found.GetParameterMap(0)
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(value) for value in result["CenterOfRotationPoint"]])
    transform.SetParameters([float(value) for value in result["TransformParameters"]])
    transform.SetComputeZYX(result.get("ComputeZYX", ("false",))[0] == "true")
    return _matrix_of(transform)


def niftyreg_rigid(fixed: sitk.Image, moving: sitk.Image, folder: Path) -> np.ndarray | None:
    """reg_aladin -rigOnly; its matrix is in RAS."""
    for name, image in (("fixed", fixed), ("moving", moving)):
        sitk.WriteImage(image, str(folder / f"{name}.nii"))
    command = ["reg_aladin", "-rigOnly", "-omp", "1", "-ref", "fixed.nii", "-flo", "moving.nii", "-aff", "out.txt"]
    done = subprocess.run([*command, "-res", "out.nii"], cwd=folder, capture_output=True, check=False)
    if done.returncode != 0 or not (folder / "out.txt").is_file():
        return None
    return RAS @ np.loadtxt(folder / "out.txt") @ RAS


def _matrix_of(transform: sitk.Transform) -> np.ndarray:
    """A linear transform by where it puts the origin and the axes."""
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - matrix[:3, 3]
    return matrix


Peer = Callable[[sitk.Image, sitk.Image, Path], np.ndarray | None]
# Name, the Python module or else the program it needs, and the function.
PEERS: tuple[tuple[str, str, str, Peer], ...] = (
    ("SimpleITK mutual information", "SimpleITK", "", simpleitk_mutual_information),
    ("ANTs rigid", "ants", "", ants_rigid),
    ("elastix default rigid", "itk", "", elastix_rigid),
    ("NiftyReg reg_aladin", "", "reg_aladin", niftyreg_rigid),
)
