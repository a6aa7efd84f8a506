"""Enhanced CT files must give exactly what the same slices give as classic files."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from medlangevin.imaging.reading import slice_pixels
from medlangevin.imaging.reading.decode import read_stack
from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.read_headers import read_headers
from medlangevin.imaging.reading.rejection import UnusableSeriesError

ENHANCED, LEGACY = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"
AXIAL = (1, 0, 0, 0, 1, 0)
OBLIQUE = (0.96, 0.28, 0, -0.28, 0.96, 0)
COUNT = 30
PIXELS = np.random.default_rng(0).integers(0, 3000, (COUNT, 40, 48)).astype(np.int16)
POSITIONS = [(3.0, -7.0, 0.5 * k) for k in range(COUNT)]


def item(name, **tags):
    """A functional group: a sequence of one item."""
    inner = Dataset()
    for tag, value in tags.items():
        setattr(inner, tag, value)
    outer = Dataset()
    setattr(outer, name, [inner])
    return outer


def groups(*parts):
    together = Dataset()
    for part in parts:
        together.update(part)
    return together


def frame(position, orientation=AXIAL, slope=1, intercept=-1024, **content):
    """Everything of a frame in its own group; StackID and in-stack positions say nothing true."""
    return groups(
        item("PlanePositionSequence", ImagePositionPatient=list(position)),
        item("PlaneOrientationSequence", ImageOrientationPatient=list(orientation)),
        item("PixelValueTransformationSequence", RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU"),
        item("FrameContentSequence", StackID="1", InStackPositionNumber=1, **content),
    )


SPACING = item("PixelMeasuresSequence", PixelSpacing=[0.4, 0.3])


def write_enhanced(path, pixels, frames, shared=SPACING, syntax=ExplicitVRLittleEndian, **tags):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = tags.get("SOPClassUID", ENHANCED)
    meta.MediaStorageSOPInstanceUID = "1.2.826.1"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    fields = {
        "SOPClassUID": ENHANCED,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": "1.2.3.4.5",
        "SeriesInstanceUID": "1.2.3",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "PatientID": "PID-4711",
        "PatientBirthDate": "19510203",
        "NumberOfFrames": len(frames),
        "Rows": pixels.shape[1],
        "Columns": pixels.shape[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": list(frames),
        "PixelData": pixels.tobytes(),
        **tags,
    }
    for name, value in fields.items():
        if value is not None:
            setattr(data, name, value)
    data["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax == RLELossless:
        data.compress(RLELossless)
    elif syntax == ExplicitVRBigEndian:
        data.PixelData = pixels.astype(">i2").tobytes()
        data.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(path, data, little_endian=False, implicit_vr=False)
        return path
    else:
        data.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, data)
    return path


def images(folder):
    return [read_stack(stack) for series in ingest(folder).series for stack in stacks(series.slices)]


def same(one, other):
    assert np.array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))
    for figure in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert np.allclose(getattr(one, figure)(), getattr(other, figure)(), atol=1e-6)


@pytest.fixture
def classic(tmp_path, write_slice):
    """The volume of the same slices as one file each, with a slope of their own."""

    def build(orientation=AXIAL, slope=lambda k: 1, positions=POSITIONS):
        for k, position in enumerate(positions):
            scale = {"RescaleSlope": slope(k), "RescaleIntercept": -1024}
            folder = tmp_path / "classic"
            write_slice(folder / f"{k}", PIXELS[k], position, orientation=orientation, spacing=(0.4, 0.3), **scale)
        (image,) = images(tmp_path / "classic")
        return image

    return build


@pytest.mark.parametrize(
    "syntax",
    [
        *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian),
        *(DeflatedExplicitVRLittleEndian, RLELossless),
    ],
)
def test_the_volume_is_that_of_the_classic_files_in_every_transfer_syntax(tmp_path, classic, syntax):
    frames = [frame(position, OBLIQUE, slope=1 + k % 3 / 16) for k, position in enumerate(POSITIONS)]
    write_enhanced(tmp_path / "one" / "file", PIXELS, frames, syntax=syntax)
    (found,) = images(tmp_path / "one")
    same(found, classic(OBLIQUE, slope=lambda k: 1 + k % 3 / 16))


def test_groups_may_be_shared_and_a_frames_own_counts_first(tmp_path, classic):
    shared = groups(SPACING, frame((9, 9, 9), slope=7), item("CTReconstructionSequence", ConvolutionKernel="Hr64"))
    own = [item("PlanePositionSequence", ImagePositionPatient=list(position)) for position in POSITIONS]
    for k, part in enumerate(own):
        part.update(item("PixelValueTransformationSequence", RescaleSlope=1 + k % 2 / 16, RescaleIntercept=-1024))
    write_enhanced(tmp_path / "one" / "file", PIXELS, own, shared)
    (series,) = ingest(tmp_path / "one").series
    assert series.sharpness == 2
    same(read_stack(stacks(series.slices)[0]), classic(slope=lambda k: 1 + k % 2 / 16))


def test_shuffled_frames_are_sorted_and_the_file_is_read_once(tmp_path, classic, monkeypatch):
    order = np.random.default_rng(1).permutation(COUNT)
    write_enhanced(tmp_path / "one" / "file", PIXELS[order], [frame(POSITIONS[k]) for k in order])
    (series,) = ingest(tmp_path / "one").series
    (stack,) = stacks(series.slices)
    reads = []
    original = pydicom.dcmread

    def recorded(*args, **rest):
        reads.append(1)
        return original(*args, **rest)

    monkeypatch.setattr(slice_pixels.pydicom, "dcmread", recorded)
    found = read_stack(stack)
    assert len(reads) == 1
    same(found, classic())


@pytest.mark.parametrize(
    "telling",
    [
        lambda n: {"FrameAcquisitionNumber": n},
        lambda n: {"TemporalPositionIndex": n},
        lambda n: {"FrameAcquisitionDateTime": f"20240131120{n}00"},
    ],
    ids=["number", "phase", "time"],
)
def test_acquisitions_are_told_by_the_frames(tmp_path, telling):
    between = [(3.0, -7.0, 0.25 * k) for k in range(2 * COUNT)]
    frames = [frame(position, **telling(1 + k % 2)) for k, position in enumerate(between)]
    write_enhanced(tmp_path / "one" / "file", np.repeat(PIXELS, 2, axis=0), frames)
    (series,) = ingest(tmp_path / "one").series
    assert [len(stack.slices) for stack in stacks(series.slices)] == [COUNT, COUNT]
    frames = [frame(position, **telling(1 + (k >= 20))) for k, position in enumerate(POSITIONS)]
    write_enhanced(tmp_path / "seam" / "file", PIXELS, frames)
    (series,) = ingest(tmp_path / "seam").series
    assert [stack.seams for stack in stacks(series.slices)] == [((3.0, -7.0, 9.75),)]


def test_decimal_commas_in_functional_groups_are_read(tmp_path, classic):
    path = write_enhanced(tmp_path / "one" / "file", PIXELS, [frame(position) for position in POSITIONS])
    whole = path.read_bytes()
    assert whole.count(b"0.4\\0.3 ") == 1
    path.write_bytes(whole.replace(b"0.4\\0.3 ", b"0,4\\0,3 "))
    same(images(tmp_path / "one")[0], classic())


def test_a_missing_frame_is_a_missing_slice(tmp_path):
    kept = [k for k in range(COUNT) if k != 12]
    write_enhanced(tmp_path / "file", PIXELS[kept], [frame(POSITIONS[k]) for k in kept])
    (series,) = ingest(tmp_path).series
    with pytest.raises(UnusableSeriesError) as caught:
        stacks(series.slices)
    assert caught.value.reason.code == "missing-slice"


def test_localizer_frames_inside_are_left_out_and_named(tmp_path, classic):
    frames = [frame(position) for position in POSITIONS]
    scout = groups(
        frame((0, 0, 3.2)), item("CTImageFrameTypeSequence", FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"])
    )
    pixels = np.concatenate([PIXELS[:5], PIXELS[:1], PIXELS[5:]])
    write_enhanced(tmp_path / "one" / "file", pixels, [*frames[:5], scout, *frames[5:]])
    same(images(tmp_path / "one")[0], classic())
    (passed,) = ingest(tmp_path / "one").passed_over
    assert passed.reason.code == "localizer"
    assert not passed.reason.failure
    write_enhanced(tmp_path / "only" / "file", PIXELS[:1], [scout])
    assert not ingest(tmp_path / "only").series


def test_two_orientations_and_two_fields_of_view_are_two_volumes_each(tmp_path, classic):
    turned = [frame((3, 0.5 * k, -7), (1, 0, 0, 0, 0, -1)) for k in range(COUNT)]
    aside = [frame((83, y, z)) for _, y, z in POSITIONS]
    axial = [frame(position) for position in POSITIONS]
    reference = classic()
    for name, other in (("turned", turned), ("aside", aside)):
        frames = [one for pair in zip(axial, other, strict=True) for one in pair]
        write_enhanced(tmp_path / name / "file", np.repeat(PIXELS, 2, axis=0), frames)
        found = images(tmp_path / name)
        assert len(found) == 2
        same(next(image for image in found if np.allclose(image.GetOrigin(), reference.GetOrigin())), reference)


def test_phases_are_parted_by_acquisition_or_by_file(tmp_path, classic):
    reference = classic()
    phases = [frame(position, FrameAcquisitionNumber=number) for number in (1, 2) for position in POSITIONS]
    write_enhanced(tmp_path / "one" / "file", np.concatenate([PIXELS, PIXELS + np.int16(5)]), phases)
    for number in (0, 5):
        pixels, frames = PIXELS + np.int16(number), [frame(position) for position in POSITIONS]
        write_enhanced(tmp_path / "two" / f"{number}", pixels, frames, SOPInstanceUID=f"1.2.{number}")
    for name in ("one", "two"):
        first, second = images(tmp_path / name)
        same(first, reference)
        assert np.array_equal(sitk.GetArrayFromImage(second), sitk.GetArrayFromImage(first) + 5)


def test_a_series_split_over_two_files_is_one_volume(tmp_path, classic):
    for start, stop in ((0, 11), (11, COUNT)):
        frames = [frame(position) for position in POSITIONS[start:stop]]
        write_enhanced(tmp_path / "parts" / f"{start}", PIXELS[start:stop], frames, SOPInstanceUID=f"1.2.{start}")
    same(images(tmp_path / "parts")[0], classic())


def test_a_file_beside_its_own_classic_slices_is_a_copy(tmp_path, classic):
    same_ids = {"StudyInstanceUID": "1.2.3.4.5", "PatientID": "PID-4711"}
    reference = classic()
    write_enhanced(tmp_path / "classic" / "all", PIXELS, [frame(position) for position in POSITIONS], **same_ids)
    (found,) = images(tmp_path / "classic")
    same(found, reference)


def test_kernels_of_converted_files_part_the_frames(tmp_path):
    frames = [
        groups(frame(position), item("UnassignedPerFrameConvertedAttributesSequence", ConvolutionKernel=kernel))
        for kernel in ("BONEPLUS", "SOFT")
        for position in POSITIONS
    ]
    write_enhanced(tmp_path / "file", np.concatenate([PIXELS, PIXELS]), frames, SOPClassUID=LEGACY)
    assert sorted(series.sharpness for series in ingest(tmp_path).series) == [0, 2]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"NumberOfFrames": COUNT + 1, "PixelData": PIXELS.tobytes() * 2}, "frame-count"),
        ({"PerFrameFunctionalGroupsSequence": None}, "frame-count"),
        ({"SharedFunctionalGroupsSequence": None}, "no-geometry"),
        ({"PixelData": PIXELS[1:].tobytes()}, "truncated"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"BitsAllocated": 8}, "eight-bit"),
    ],
)
def test_what_an_enhanced_file_lacks_is_named(tmp_path, change, code):
    path = write_enhanced(tmp_path / "file", PIXELS, [frame(position) for position in POSITIONS], **change)
    found = read_headers(path)
    assert not found.slices
    assert found.reason is not None
    assert found.reason.code == code


def test_a_frame_without_a_rescale_or_with_a_map_is_refused(tmp_path):
    bare = groups(item("PlanePositionSequence", ImagePositionPatient=[0, 0, 0]), frame((0, 0, 0)))
    del bare.PixelValueTransformationSequence
    iodine = frame((0, 0, 0))
    iodine.PixelValueTransformationSequence[0].RescaleType = "MGML"
    for last, code in ((bare, "no-rescale"), (iodine, "not-hu")):
        frames = [*(frame(position) for position in POSITIONS[:-1]), last]
        reason = read_headers(write_enhanced(tmp_path / code, PIXELS, frames)).reason
        assert reason is not None
        assert reason.code == code


def test_compressed_frames_are_decoded_one_by_one_with_their_own_rescale(tmp_path, shared_data: Path):
    for name in ("JPEG2000Lossless", "JPEGLSLossless", "JPEGProcess14SV1", "RLELossless"):
        (path,) = (shared_data / "data" / "ct" / "transfer_syntaxes").glob(f"*{name}*")
        source = pydicom.dcmread(path)
        code = next(generate_frames(source.PixelData, number_of_frames=1))
        (header,) = read_headers(path).slices
        whole = slice_pixels.read_slice(header)
        tags = {tag: source.get(tag) for tag in slice_pixels.PIXEL_TAGS}
        frames = [frame((0, 0, k), slope=1, intercept=float(source.RescaleIntercept) + k) for k in range(3)]
        out = write_enhanced(tmp_path / name, np.zeros((1, 2, 2), np.int16), frames, **tags)
        data = pydicom.dcmread(out)
        data.PixelData = encapsulate([code] * 3)
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = source.file_meta.TransferSyntaxUID
        data.save_as(out)
        found = list(slice_pixels.read_slices(read_headers(out).slices))
        for k, values in enumerate(found):
            expected = np.where(whole > -1024, whole + k, whole) if header.padding else whole + k
            inside = whole > -1000
            assert np.array_equal(values[inside], expected[inside])


def test_files_of_two_studies_that_use_one_series_id_are_two_series(tmp_path):
    frames = [frame(position) for position in POSITIONS]
    for number in (1, 2):
        study = {"StudyInstanceUID": f"1.9.{number}", "SOPInstanceUID": f"1.8.{number}"}
        write_enhanced(tmp_path / f"{number}.dcm", PIXELS + np.int16(number), frames, **study)
    assert [len(item.slices) for item in ingest(tmp_path).series] == [COUNT, COUNT]


def test_slice_thickness_of_a_frame_is_read(tmp_path):
    measures = item("PixelMeasuresSequence", PixelSpacing=[0.4, 0.3], SliceThickness=0.9)
    write_enhanced(tmp_path / "a.dcm", PIXELS, [frame(position) for position in POSITIONS], shared=measures)
    (series,) = ingest(tmp_path).series
    assert series.thickness_mm == 0.9
