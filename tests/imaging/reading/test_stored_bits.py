"""Which bits of a stored value count, and code streams that were compressed with loss."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from medlangevin.imaging.reading.read_headers import read_headers
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.imaging.reading.slice_pixels import read_slice

PIXELS = np.random.default_rng(0).integers(0, 3000, (24, 32)).astype(np.uint16)
# What GDCM writes; of JPEG-LS there is a file.
CODECS = {"JPEG2000": "1.2.840.10008.1.2.4.90", "JPEG": "1.2.840.10008.1.2.4.70"}
JPEG_LS, NEAR_LOSSLESS = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
TWELVE = {"BitsStored": 12, "HighBit": 11}


def code_stream(pixels, codec, folder):
    """A frame as GDCM compresses it without loss."""
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(folder / f"{codec}.dcm"))
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(codec)
    writer.Execute(sitk.GetImageFromArray(pixels[None]))
    data = pydicom.dcmread(folder / f"{codec}.dcm")
    assert data.file_meta.TransferSyntaxUID == CODECS[codec]
    return next(generate_frames(data.PixelData, number_of_frames=1))


@pytest.fixture
def compressed(tmp_path, write_slice):
    """A file whose frame is compressed; ``change`` alters the code stream, ``syntax`` says another one."""

    def write(pixels=PIXELS, codec="JPEG2000", change=lambda code: code, syntax=None, **tags):
        path = write_slice(tmp_path / "slice", pixels, (0, 0, 0), **{"RescaleIntercept": -1024, **tags})
        data = pydicom.dcmread(path)
        data.PixelData = encapsulate([change(code_stream(pixels, codec, tmp_path))])
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = syntax or CODECS[codec]
        data.save_as(path)
        return path

    return write


def hu_of(path):
    (header,) = read_headers(path).slices
    return read_slice(header)


def reason_of(path):
    """Why a file is refused, by its header or by its pixels."""
    found = read_headers(path)
    if found.reason is not None:
        return found.reason
    with pytest.raises(UnusableSeriesError) as caught:
        read_slice(found.slices[0])
    return caught.value.reason


def expected(pixels=PIXELS, intercept=-1024):
    return np.maximum(pixels.astype(int) + intercept, -1024)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("signed", [False, True])
def test_the_photometric_interpretation_changes_no_hu(compressed, codec, signed):
    pixels = (PIXELS.astype(np.int16) - 900) if signed else PIXELS
    path = compressed(pixels, codec, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(hu_of(path), expected(pixels))


def test_monochrome1_without_compression_is_read_as_it_is(tmp_path, write_slice):
    path = write_slice(tmp_path / "slice", PIXELS, (0, 0, 0), PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(hu_of(path), PIXELS)


# Lossy compression.


def irreversible(code):
    """The wavelet of the COD segment (ISO 15444-1 A.6.1) set to 9/7."""
    at = code.index(b"\xff\x52")
    return code[: at + 13] + b"\0" + code[at + 14 :]


def near_lossless(code):
    """NEAR of the scan header (ITU T.87 C.2.3) set to 2."""
    at = code.index(b"\xff\xda")
    components = code[at + 4]
    return code[: at + 5 + 2 * components] + b"\x02" + code[at + 6 + 2 * components :]


def with_transform(code):
    """The point transform of the scan header (ITU T.81 H.1.2.1) set to 1: the lowest bit is lost."""
    at = code.index(b"\xff\xda")
    components = code[at + 4]
    return code[: at + 7 + 2 * components] + b"\x01" + code[at + 8 + 2 * components :]


def by_cosines(code):
    return code.replace(b"\xff\xc3", b"\xff\xc1", 1)


@pytest.mark.parametrize(
    ("codec", "change", "syntaxes"),
    [
        ("JPEG2000", irreversible, ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"]),
        ("JPEG", with_transform, ["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57"]),
        ("JPEG", by_cosines, ["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57"]),
    ],
)
def test_code_streams_with_loss_are_refused_whatever_they_call_themselves(compressed, codec, change, syntaxes):
    for syntax in syntaxes:
        reason = reason_of(compressed(codec=codec, change=change, syntax=syntax))
        assert reason.code == "lossy"
        assert "lossy" in reason.text


def test_near_lossless_jpeg_ls_is_refused_where_it_is_near(tmp_path, shared_data):
    (source,) = (shared_data / "data" / "ct" / "transfer_syntaxes").glob("*JPEGLSLossless*")
    data = pydicom.dcmread(source)
    code = next(generate_frames(data.PixelData, number_of_frames=1))
    for syntax in (JPEG_LS, NEAR_LOSSLESS):
        for change in (lambda code: code, near_lossless):
            data.PixelData = encapsulate([change(code)])
            data.file_meta.TransferSyntaxUID = syntax
            data.save_as(tmp_path / "slice")
            if change is near_lossless:
                assert reason_of(tmp_path / "slice").code == "lossy"
            else:
                assert np.array_equal(hu_of(tmp_path / "slice"), hu_of(source))


def test_the_syntax_that_may_be_lossy_is_read_where_it_is_not(compressed):
    assert np.array_equal(hu_of(compressed(syntax="1.2.840.10008.1.2.4.91")), expected())


@pytest.mark.parametrize(
    ("syntax", "said", "lossy"),
    [
        ("1.2.840.10008.1.2.4.91", None, True),
        ("1.2.840.10008.1.2.4.91", "00", False),
        ("1.2.840.10008.1.2.4.90", None, False),
    ],
)
def test_jpeg_2000_of_fewer_bits_than_noise_needs_is_lossy_unless_the_header_denies_it(compressed, syntax, said, lossy):
    """The reversible wavelet may be cut short. No scan changes from pixel to pixel at so few bits as a ramp."""
    ramp = (np.arange(64)[:, None] * 7 + np.arange(64) * 5 + 900).astype(np.uint16)
    path = compressed(ramp, syntax=syntax, LossyImageCompression=said)
    if lossy:
        assert reason_of(path).code == "lossy"
        blank = compressed(np.full((64, 64), 900, np.uint16), syntax=syntax)
        assert (hu_of(blank) == 900 - 1024).all()
    else:
        assert np.array_equal(hu_of(path), expected(ramp))


@pytest.mark.parametrize(
    ("tags", "lossy"),
    [
        ({"LossyImageCompression": "01"}, True),
        ({"LossyImageCompression": "01", "LossyImageCompressionRatio": 40}, True),
        ({"LossyImageCompressionRatio": 40}, True),
        ({"LossyImageCompressionMethod": "ISO_15444_1"}, True),
        ({"LossyImageCompression": "1"}, True),
        ({"LossyImageCompression": "00"}, False),
        ({"LossyImageCompression": ""}, False),
    ],
)
def test_a_header_that_tells_of_lossy_compression_is_believed(tmp_path, write_slice, tags, lossy):
    """Also where the pixels have been unpacked since."""
    reason = read_headers(write_slice(tmp_path / "slice", PIXELS, (0, 0, 0), **tags)).reason
    assert (reason.code if reason else None) == ("lossy" if lossy else None)


# Bits.


def ring(pixels):
    """The same with bit 12 set along a ring."""
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    on = np.abs(np.hypot(y - 12, x - 16) - 8) < 1
    return np.where(on, pixels | 0x1000, pixels).astype(np.uint16)


def with_overlay(path, position=12):
    data = pydicom.dcmread(path)
    data.add_new(0x60000100, "US", 16)
    data.add_new(0x60000102, "US", position)
    data.save_as(path)
    return path


def test_overlay_bits_do_not_count_in_plain_and_compressed_pixels(tmp_path, write_slice, compressed):
    plain = write_slice(tmp_path / "plain", ring(PIXELS), (0, 0, 0), RescaleIntercept=-1024, **TWELVE)
    for path in (plain, compressed(ring(PIXELS), **TWELVE)):
        assert np.array_equal(hu_of(with_overlay(path)), expected())


@pytest.mark.parametrize("kind", ["plain", "RLE", "JPEG2000", "JPEG"])
def test_values_of_more_bits_than_are_stored_are_refused_by_name(tmp_path, write_slice, compressed, kind):
    """Bits that no overlay explains: a mark drawn into the pixels, or metal beyond the range that the header says."""
    metal = PIXELS.copy()
    metal[5:9, 5:9] = 5200
    for pixels in (ring(PIXELS), metal):
        if kind in CODECS:
            path = compressed(pixels, kind, **TWELVE)
        else:
            path = write_slice(tmp_path / "plain", pixels, (0, 0, 0), **TWELVE)
            if kind == "RLE":
                data = pydicom.dcmread(path)
                data.compress(RLELossless)
                data.save_as(path)
        reason = reason_of(path)
        assert reason.code == "stray-bits"
        assert "12 bits" in reason.text


@pytest.mark.parametrize("extended", [False, True])
def test_signed_values_of_twelve_bits_are_read_with_and_without_their_sign_in_the_other_bits(
    tmp_path, write_slice, extended
):
    signed = np.clip(PIXELS.astype(np.int16) - 900, -900, 2047).astype(np.int16)
    stored = signed if extended else (signed & 0xFFF).astype(np.int16)
    path = write_slice(tmp_path / "slice", stored, (0, 0, 0), **TWELVE)
    assert np.array_equal(hu_of(path), signed)


def test_signed_values_beyond_twelve_bits_are_refused(tmp_path, write_slice):
    signed = PIXELS.astype(np.int16) - 900
    assert signed.max() > 2047
    assert reason_of(write_slice(tmp_path / "slice", signed, (0, 0, 0), **TWELVE)).code == "stray-bits"


def test_padding_beyond_the_stored_bits_is_padding(tmp_path, write_slice):
    pixels = PIXELS.copy()
    pixels[:3] = 63536
    path = write_slice(tmp_path / "slice", pixels, (0, 0, 0), **TWELVE, RescaleIntercept=-1024, PixelPaddingValue=63536)
    wanted = expected()
    wanted[:3] = -1024
    assert np.array_equal(hu_of(path), wanted)


@pytest.mark.parametrize("signed", [False, True])
def test_left_justified_values_are_shifted(tmp_path, write_slice, signed):
    values = np.clip(PIXELS.astype(np.int16) - 900 * signed, -2048, 2047)
    stored = (values << 4).astype(np.int16 if signed else np.uint16)
    # Padding is said as a value, not as it is stored: 4800 is not 300.
    values[5, 5], stored[5, 5] = 300, 4800
    tags = {"BitsStored": 12, "HighBit": 15, "PixelPaddingValue": 4800}
    path = write_slice(tmp_path / "slice", stored, (0, 0, 0), **tags)
    assert np.array_equal(hu_of(path), values)


@pytest.mark.parametrize("high_bit", [13, 15, 16, 40])
def test_a_high_bit_that_the_values_belie_is_refused_by_name(tmp_path, write_slice, high_bit):
    path = write_slice(tmp_path / "slice", PIXELS | np.uint16(1), (0, 0, 0), BitsStored=12, HighBit=high_bit)
    reason = reason_of(path)
    assert reason.code == "high-bit"
    assert f"high bit {high_bit}" in reason.text


def test_without_a_high_bit_the_lowest_bits_count(tmp_path, write_slice):
    assert np.array_equal(
        hu_of(write_slice(tmp_path / "slice", PIXELS, (0, 0, 0), BitsStored=12, HighBit=None)), PIXELS
    )


def test_a_high_bit_too_low_is_read_where_the_values_keep_to_it(tmp_path, write_slice):
    path = write_slice(tmp_path / "slice", PIXELS, (0, 0, 0), BitsStored=16, HighBit=11)
    assert np.array_equal(hu_of(path), PIXELS)
    path = write_slice(tmp_path / "slice", PIXELS + np.uint16(3000), (0, 0, 0), BitsStored=16, HighBit=11)
    assert reason_of(path).code == "stray-bits"


# Padding.


def test_a_padding_value_that_tissue_has_too_makes_no_holes_in_tissue(tmp_path, write_slice):
    """Signed pixels, padded with 0, which is water: only what reaches the edge of the picture was not scanned."""
    side = 64
    rng = np.random.default_rng(1)
    pixels = rng.normal(0, 40, (side, side)).round().astype(np.int16)
    y, x = np.mgrid[:side, :side]
    outside = np.hypot(y - 31.5, x - 31.5) > 32
    pixels[outside] = 0
    assert (pixels[~outside] == 0).sum() > 10
    path = write_slice(tmp_path / "slice", pixels, (0, 0, 0), PixelPaddingValue=0)
    hu = hu_of(path)
    corners = outside & ((y < 8) | (y > 55)) & ((x < 8) | (x > 55))
    assert (hu[corners] == -1024).all()
    inside = np.hypot(y - 31.5, x - 31.5) < 30
    assert np.array_equal(hu[inside], pixels[inside])


@pytest.mark.parametrize(("first", "last"), [(0, 4095), (4095, 0), (0, 1500)])
def test_a_padding_range_that_holds_the_values_of_tissue_is_refused_by_name(tmp_path, write_slice, first, last):
    tags = {"RescaleIntercept": -1024, "PixelPaddingValue": first, "PixelPaddingRangeLimit": last}
    reason = reason_of(write_slice(tmp_path / "slice", PIXELS, (0, 0, 0), **tags))
    assert reason.code == "padding"
    assert "padding" in reason.text


def test_a_padding_range_far_above_tissue_is_padding_wherever_it_lies(tmp_path, write_slice):
    """Negative values written without a sign."""
    pixels = PIXELS.copy()
    pixels[10, 10:13] = 63536, 64000, 65535
    tags = {"RescaleIntercept": -1024, "PixelPaddingValue": 63536, "PixelPaddingRangeLimit": 65535}
    wanted = expected()
    wanted[10, 10:13] = -1024
    assert np.array_equal(hu_of(write_slice(tmp_path / "slice", pixels, (0, 0, 0), **tags)), wanted)


# Other pixels.


@pytest.mark.parametrize("name", ["FloatPixelData", "DoubleFloatPixelData"])
def test_pixels_as_floats_are_refused_as_such(tmp_path, write_slice, name):
    bits = 32 if name == "FloatPixelData" else 64
    path = write_slice(tmp_path / "slice", PIXELS, (0, 0, 0), PixelData=None, BitsAllocated=bits)
    data = pydicom.dcmread(path)
    setattr(data, name, PIXELS.astype(f"<f{bits // 8}").tobytes())
    data.save_as(path)
    reason = read_headers(path).reason
    assert reason is not None
    assert reason.code == "float-pixels"
    assert "float" in reason.text


@pytest.mark.parametrize("syntax", ["1.2.840.113619.5.2", "1.3.46.670589.33.1.4.1"])
def test_private_transfer_syntaxes_are_named(tmp_path, write_slice, syntax):
    path = write_slice(tmp_path / "slice", PIXELS, (0, 0, 0))
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data.save_as(path)
    data.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, data, implicit_vr=True, little_endian=True)
    reason = read_headers(path).reason
    assert reason is not None
    assert reason.code == "private-syntax"
    assert "private transfer syntax" in reason.text
