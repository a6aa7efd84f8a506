"""No byte of any output, in any encoding, tells who was scanned: made-up studies whose headers tell it everywhere."""

import base64
import gzip
import html
import json
import subprocess
import sys
import urllib.parse
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.summary import describe
from medlangevin.imaging.reading.decode import read_stack
from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import Series, ingest
from medlangevin.imaging.reading.rejection import UnusableSeriesError

NAMES: dict[str, tuple[str | list[str], str]] = {
    "latin": ("ISO_IR 100", "Müllerová^Zoéline"),
    "utf8": ("ISO_IR 192", "Þórsdóttir^Ásgerður"),
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田川^太郎丸=やまだ^たろう"),
    "korean": (["", "ISO 2022 IR 149"], "Gildong^Honglee=洪吉洞^金東旭=홍길동^김동욱"),
    "wrong": ("ISO_SECRETSET", "Wrongset^Wrongperson"),
}
IDS = [
    "../../etc/secret-id",
    "C:\\records\\4711-secret",
    "two\nlines-secret",
    "<script>alert('secret')</script>",
    "MRN-0815-secret",
]
TEXTS = {
    "InstitutionName": "Secret Hospital Ward",
    "InstitutionAddress": "Secret Street 17",
    "ReferringPhysicianName": "Referring^Doctor",
    "OperatorsName": "Operating^Radiographer",
    "PerformingPhysicianName": "Performing^Doctor",
    "ImageComments": "comment names Jane Secretperson",
    "PatientComments": "patient lives in Secretville",
    "StudyDescription": "study of Jane Secretperson",
    "SeriesDescription": "series of Jane Secretperson",
    "ProtocolName": "protocol Secretperson",
    "StationName": "SECRETSTATION",
    "DeviceSerialNumber": "SN-99887766",
    "StudyID": "STUDY-556677",
    "OtherPatientIDs": "OTHER-112233",
    "PatientAddress": "Secret Lane 5, Secretville",
    "PatientTelephoneNumbers": "+49-555-0199-77",
    "AccessionNumber": "ACC-998877",
    "PatientBirthDate": "19510203",
    "StudyDate": "20240131",
    "SeriesDate": "20240130",
    "AcquisitionDate": "20240129",
    "ContentDate": "20240128",
    "StudyTime": "131415.161718",
    "ConvolutionKernel": "KernelOfSecretperson",
    "FrameOfReferenceUID": "1.2.826.0.1.55501",
}
PRIVATE = "private Jane Secretperson"
UIDS = ["1.2.826.0.1.55502", "1.2.826.0.1.55503"]
CHARSETS = [
    "utf-8",
    "latin-1",
    "utf-16-le",
    "utf-16-be",
    "iso2022_jp",
    "iso2022_jp_2",
    "shift_jis",
    "iso2022_kr",
    "euc_kr",
]


def secrets() -> set[str]:
    """Whole strings and their parts."""
    found = {*IDS, *TEXTS.values(), PRIVATE, *UIDS, "Secretperson", "Secretville", "0815-secret"}
    for _, name in NAMES.values():
        for group in name.split("="):
            found |= {group, *group.split("^")}
    return found | {name for name in TEXTS.values() if "^" in name for name in name.split("^")}


def forms(secret: str) -> set[bytes]:
    """How a string may appear: other spelling, order and escapes, each in every charset, base64 at every offset."""
    texts = {secret, secret.replace("^", " "), secret.replace("^", ", "), " ".join(reversed(secret.split("^")))}
    texts |= {urllib.parse.quote(secret), html.escape(secret), json.dumps(secret)[1:-1]}
    texts |= {repr(secret)[1:-1], "_".join(secret.split("^")), secret.replace("\n", " ")}
    found = set()
    for text in texts:
        for charset in CHARSETS:
            try:
                found.add(text.encode(charset))
            except UnicodeEncodeError:
                continue
    for plain in {secret.encode(), secret.encode("utf-16-le")}:
        found.add(plain.hex().encode())
        for offset in range(3):
            # Characters at both ends also depend on the neighbours.
            encoded = base64.b64encode(bytes(offset) + plain)
            found.add(encoded[-(-offset * 4 // 3) : len(encoded) - 4])
    # Anything shorter turns up in any picture.
    return {form.lower() for form in found if len(form) >= 5}


def content(path: Path) -> bytes:
    """The bytes of a file, and what is packed in it."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data += gzip.decompress(data)
    if path.suffix == ".png":
        data += _png_chunks(data)
    return data


def _png_chunks(data: bytes) -> bytes:
    at, pixels, texts = 8, b"", b""
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        chunk = data[at + 8 : at + 8 + length]
        pixels += chunk if kind == b"IDAT" else b""
        if kind in (b"zTXt", b"iTXt"):
            start = chunk.find(b"\x78")
            texts += zlib.decompressobj().decompress(chunk[start:]) if start >= 0 else b""
        at += 12 + length
    return zlib.decompress(pixels) + texts


def leaks(data: bytes, wanted: dict[str, set[bytes]]) -> list[str]:
    """Which secrets are in ``data``, in capitals or not."""
    data = data.lower()
    return [secret for secret, found in wanted.items() if any(form in data for form in found)]


def check_folder(out: Path, wanted: dict[str, set[bytes]]) -> None:
    files = [path for path in out.rglob("*") if path.is_file()]
    assert files
    for path in files:
        name = str(path.relative_to(out)).encode()
        assert leaks(name + b"\0" + content(path), wanted) == [], path.name


def said(text: str, raw: Path) -> bytes:
    """What was printed, without the names of the user's own folders."""
    for folder in sorted((str(path) for path in (raw, *raw.rglob("*"))), key=len, reverse=True):
        text = text.replace(folder, "FOLDER")
    return text.encode("utf-8", "surrogateescape")


def identified(path: Path, name: str, identifier: str) -> None:
    """Fill the header of a file with all that tells who it is."""
    charset, person = NAMES[name]
    data = pydicom.dcmread(path)
    if name != "wrong":
        data.SpecificCharacterSet = charset
    data.PatientName = person
    # Path-like and with control characters: as files have them, not as pydicom would write them.
    data["PatientID"] = pydicom.DataElement(0x00100020, "LO", identifier, validation_mode=pydicom.config.IGNORE)
    for tag, value in TEXTS.items():
        setattr(data, tag, value)
    data.StudyInstanceUID = UIDS[0]
    block = data.private_block(0x0029, "SECRET VENDOR", create=True)
    block.add_new(1, "LO", PRIVATE)
    block.add_new(2, "UN", person.split("=")[0].encode())
    data.save_as(path)
    if name == "wrong":
        element = b"\x08\x00\x05\x00CS" + len(f"{charset} ").to_bytes(2, "little") + f"{charset} ".encode()
        whole = path.read_bytes()
        at = whole.index(b"\x08\x00\x08\x00CS")
        path.write_bytes(whole[:at] + element + whole[at:])


@pytest.fixture(scope="module")
def wanted() -> dict[str, set[bytes]]:
    return {secret: forms(secret) for secret in secrets()}


@pytest.fixture(scope="module")
def raw(
    tmp_path_factory: pytest.TempPathFactory,
    write_slice: Callable[..., Path],
    write_volume: Callable[..., None],
    warped_reference: Callable[..., sitk.Image],
) -> Path:
    """One sound scan, and a refused one for every charset and every way of being refused."""
    raw = tmp_path_factory.mktemp("hospital")
    scan = warped_reference(np.diag([-1.0, 1, 1, 1]))
    write_volume(raw / "Secretperson Jane", scan, series_uid=UIDS[1])
    for path in (raw / "Secretperson Jane").iterdir():
        identified(path, "latin", IDS[0])
    pixels = np.full((40, 40), 700, np.int16)
    refusals: list[dict[str, Any]] = [
        {"Modality": "Secretperson"},
        {"Modality": "Secretperson", "SOPClassUID": UIDS[1]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "Secretperson"]},
        {"RescaleType": "Secretperson"},
        {"ImagePositionPatient": None},
        {"PixelData": b"Secretperson"},
    ]
    for number, tags in enumerate(refusals):
        name, identifier = list(NAMES)[number % len(NAMES)], IDS[number % len(IDS)]
        for k in range(3):
            path = raw / f"Secretperson-{number}" / f"Secretperson{k}.dcm"
            write_slice(path, pixels, (0, 0, k * 0.5), series_uid=f"{UIDS[1]}.{number}", **tags)
            identified(path, name, identifier)
    # Values that no reader takes, in headers and in pixels.
    for number, (old, new) in enumerate([(b"0.3\\0.3 ", b"Jane\\Sec"), (b"CT", b"Jn")]):
        path = write_slice(raw / "Secretperson-damaged" / f"{number}", pixels, (0, 0, 0), series_uid=UIDS[1])
        identified(path, "latin", IDS[1])
        path.write_bytes(path.read_bytes().replace(old, new))
    (raw / "Secretperson.nii.gz").write_bytes(b"Secretperson")
    (raw / "Secretperson.nrrd").write_text("NRRD0004\ncontent: Secretperson\n\n")
    sitk.WriteImage(scan[:5], str(raw / "Secretperson-small.nii.gz"))
    return raw


def test_the_search_finds_every_form(wanted: dict[str, set[bytes]]) -> None:
    data = b"..".join(form for found in wanted.values() for form in found)
    assert leaks(data, wanted) == list(wanted)
    assert leaks("山田川".encode("iso2022_jp"), wanted) == ["山田川"]
    assert leaks(b"x" + base64.b64encode(b"by Secretperson, Jane"), wanted) == ["Secretperson"]
    assert "Operating^Radiographer" in leaks(b"Radiographer Operating", wanted)


def test_headers_hold_what_is_looked_for(raw: Path, wanted: dict[str, set[bytes]]) -> None:
    one_of_each = [min(path for path in folder.iterdir()) for folder in raw.iterdir() if folder.is_dir()]
    data = b"".join(path.read_bytes() for path in one_of_each)
    missing = [secret for secret in wanted if secret not in leaks(data, wanted)]
    # Escape sequences stand between the parts of a name; the parts are looked for on their own.
    assert [secret for secret in missing if secret.isascii() or "^" not in secret] == []


@pytest.mark.slow(seconds=15)
def test_a_run_as_a_program_tells_nothing(raw: Path, tmp_path: Path, wanted: dict[str, set[bytes]]) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-W", "always", "-m", "medlangevin", "preprocess", "--workers", "1"]
    done = subprocess.run(
        [*command, "--raw", raw, "--out", out], capture_output=True, text=True, errors="surrogateescape"
    )
    assert done.returncode == 1, done.stderr
    assert len(list((out / "crops").glob("*.nii.gz"))) == 1
    assert len((out / "failures.tsv").read_text().splitlines()) > 6
    check_folder(out, wanted)
    assert leaks(said(done.stdout, raw), wanted) == []
    assert leaks(said(done.stderr, raw), wanted) == []
    # Neither a warning of a library nor a traceback, whatever they hold.
    assert [line for line in done.stderr.splitlines() if not line.startswith("warning: ")] == []


def test_an_error_that_nobody_thought_of_tells_nothing(
    raw: Path,
    tmp_path: Path,
    wanted: dict[str, set[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def crash(study: str, series: Series, *_: object) -> None:
        raise RuntimeError(f"Secretperson {TEXTS['PatientBirthDate']} {series}")

    monkeypatch.setattr("medlangevin.imaging.cohort.person.series_ears", crash)
    print(describe(preprocess(raw, tmp_path / "out")))
    printed = capfd.readouterr()
    check_folder(tmp_path / "out", wanted)
    assert leaks(said(printed.out + printed.err, raw), wanted) == []
    rows = (tmp_path / "out" / "failures.tsv").read_text().splitlines()
    assert sum("\tinternal\tit could not be processed (RuntimeError)\t" in row for row in rows) > 4


def test_libraries_log_nothing_of_a_header(
    raw: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    caplog.set_level(0)
    found = ingest(raw)
    assert found.files > 100
    for series in [item for item in found.series if item.slices]:
        with suppress(UnusableSeriesError):
            for stack in stacks(series.slices):
                read_stack(stack)
    assert caplog.records == []
    assert list(recwarn) == []


# Coarse, run-length coded, with a name beyond ASCII and private tags; and those with odd ids and comments.
CROPPED, REFUSED = ("dev02",), ("dev05", "dev07", "dev16", "dev19")


def linked(root: Path, folder: Path, names: tuple[str, ...]) -> tuple[Path, dict[str, set[bytes]]]:
    """A folder with links to simulated scans, and what their headers hold."""
    strings = set()
    for name in names:
        scan = json.loads((root / "truth" / f"{name}.json").read_text())
        strings |= {*scan["identifying_strings_in_headers"], scan["study_instance_uid"], scan["series_instance_uid"]}
        study = folder / "raw" / Path(scan["study_folder"]).name
        study.mkdir(parents=True)
        for file in (root / scan["study_folder"]).iterdir():
            (study / file.name).symlink_to(file)
    parts = {part for text in strings for part in text.split("^") if len(part) >= 5}
    return folder / "raw", {text: forms(text) for text in strings | parts}


@pytest.mark.slow
def test_crop_and_picture_of_a_simulated_scan_tell_nothing(
    simulated_ears: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw, strings = linked(simulated_ears, tmp_path, CROPPED)
    assert len(strings) > 10
    summary = preprocess(raw, tmp_path / "out")
    print(describe(summary))
    assert len(summary.ears) == len(CROPPED)
    check_folder(tmp_path / "out", strings)
    printed = capfd.readouterr()
    assert leaks(said(printed.out + printed.err, raw), strings) == []


@pytest.mark.slow
def test_failures_of_simulated_scans_tell_nothing(
    simulated_ears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def crash(study: str, series: Series, *_: object) -> None:
        raise ValueError(str(series))

    raw, strings = linked(simulated_ears, tmp_path, REFUSED)
    monkeypatch.setattr("medlangevin.imaging.cohort.person.series_ears", crash)
    print(describe(preprocess(raw, tmp_path / "out")))
    check_folder(tmp_path / "out", strings)
    printed = capfd.readouterr()
    assert leaks(said(printed.out + printed.err, raw), strings) == []
