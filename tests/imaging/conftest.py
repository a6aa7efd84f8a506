"""A synthetic ear scan written as DICOM, with headers as odd as a hospital's."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medlangevin.imaging.cohort.preprocess import single_threaded
from medlangevin.imaging.reading import bounded_file
from medlangevin.imaging.registration.reference import Reference, load_reference

IDENTIFYING = ["SECRET^NAME", "PID-4711", "19510203", "SECRET HOSPITAL", "ACC-998877", "20240131"]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """As in the pipeline's processes; many threads on small images only wait for each other."""
    single_threaded()


@pytest.fixture(scope="session")
def reference() -> Reference:
    return load_reference()


def _write_slice(
    path: Path,
    pixels: np.ndarray,
    position: tuple[float, float, float],
    *,
    series_uid: str = "1.2.3",
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    spacing: tuple[float, float] = (0.3, 0.3),
    **tags: Any,
) -> Path:
    """One CT file. ``pixels``: stored values (rows, columns); ``tags`` overrides or, with None, drops header fields."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    fields = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": "1.2.3.4.5",
        "SeriesInstanceUID": series_uid,
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientName": IDENTIFYING[0],
        "PatientID": IDENTIFYING[1],
        "PatientBirthDate": IDENTIFYING[2],
        "InstitutionName": IDENTIFYING[3],
        "AccessionNumber": IDENTIFYING[4],
        "StudyDate": IDENTIFYING[5],
        "ImagePositionPatient": [round(float(value), 6) for value in position],
        "ImageOrientationPatient": [round(float(value), 9) for value in orientation],
        "PixelSpacing": list(spacing),
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "PixelData": pixels.tobytes(),
        **tags,
    }
    for name, value in fields.items():
        if value is not None:
            setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data)
    return path


def _write_volume(folder: Path, image: sitk.Image, **tags: Any) -> None:
    """An int16 image as a series, one file a slice, in an order that no name or number tells."""
    volume = sitk.GetArrayFromImage(image)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    names = np.random.default_rng(5).permutation(len(volume))
    for k, name in enumerate(names):
        _write_slice(
            folder / f"IM{name:04d}",
            volume[k],
            image.TransformIndexToPhysicalPoint((0, 0, k)),
            orientation=tuple(np.concatenate([direction[:, 0], direction[:, 1]])),
            spacing=(image.GetSpacing()[1], image.GetSpacing()[0]),
            InstanceNumber=1,
            **tags,
        )


def _warped_reference(
    reference: Reference, matrix: np.ndarray, *, spacing: float = 0.3, noise: float = 60.0
) -> sitk.Image:
    """A scan of the reference ear: reference point p lies at matrix @ p in LPS of the scan. int16 HU with noise."""
    inverse = np.linalg.inv(matrix)
    transform = sitk.AffineTransform(inverse[:3, :3].ravel().tolist(), inverse[:3, 3].tolist())
    side = 84
    grid = sitk.ResampleImageFilter()
    grid.SetSize([side] * 3)
    grid.SetOutputSpacing([spacing] * 3)
    grid.SetOutputOrigin((matrix[:3, 3] - spacing * (side - 1) / 2).tolist())
    grid.SetTransform(transform)
    grid.SetDefaultPixelValue(1400)
    values = sitk.GetArrayFromImage(grid.Execute(reference.image))
    values = values + np.random.default_rng(0).normal(0, noise, values.shape)
    scan = sitk.GetImageFromArray(np.rint(values).astype(np.int16))
    scan.SetOrigin((matrix[:3, 3] - spacing * (side - 1) / 2).tolist())
    scan.SetSpacing([spacing] * 3)
    return scan


@pytest.fixture(scope="session")
def write_slice() -> Callable[..., Path]:
    """``write_slice(path, pixels, position, *, series_uid, orientation, spacing, **tags)``."""
    return _write_slice


@pytest.fixture(scope="session")
def write_volume() -> Callable[..., None]:
    """``write_volume(folder, image, **tags)``."""
    return _write_volume


@pytest.fixture(scope="session")
def warped_reference(reference: Reference) -> Callable[..., sitk.Image]:
    """``warped_reference(matrix, *, noise)``: reference point p lies at matrix @ p in LPS of the scan."""
    return lambda matrix, **options: _warped_reference(reference, matrix, **options)


@pytest.fixture(scope="session")
def identifying() -> list[str]:
    """The strings in the headers that no output may hold."""
    return IDENTIFYING


@pytest.fixture(scope="session")
def stubbed() -> ModuleType:
    """``stub_person`` and ``StubMatcher``, which stand in for the registration."""
    path = Path(__file__).parent / "cohort" / "stubbed_preprocess.py"
    spec = importlib.util.spec_from_file_location("stubbed_preprocess", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stubbed_pipeline(monkeypatch: pytest.MonkeyPatch, stubbed: ModuleType) -> None:
    """preprocess without its registration."""
    monkeypatch.setattr("medlangevin.imaging.cohort.preprocess.process_person", stubbed.stub_person)
    monkeypatch.setattr("medlangevin.imaging.cohort.preprocess.Matcher", stubbed.StubMatcher)


@pytest.fixture
def close_files() -> Callable[..., None]:
    """``close_files(monkeypatch, *names, error=...)``: opening what lies there fails, as if not root."""

    def close(monkeypatch: pytest.MonkeyPatch, *names: str, error: OSError | None = None) -> None:
        raised = error or PermissionError(13, "Permission denied")

        class Reader(bounded_file.BoundedReader):
            def __init__(self, path: Path) -> None:
                if any(name in path.as_posix() for name in names):
                    raise raised
                super().__init__(path)

        def opened(self: Path, *arguments: Any, **more: Any) -> Any:
            if any(self.as_posix().endswith(name) for name in names):
                raise raised
            return real(self, *arguments, **more)

        real = Path.open
        monkeypatch.setattr(bounded_file, "BoundedReader", Reader)
        monkeypatch.setattr(Path, "open", opened)

    return close
