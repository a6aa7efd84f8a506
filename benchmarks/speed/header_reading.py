"""Time and memory of reading the headers of many DICOM files: files a second of CPU time, and bytes kept a file.

python benchmarks/speed/header_reading.py [--files 20000]
"""

import argparse
import cProfile
import io
import pstats
import resource
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medlangevin.imaging.reading.ingest import ingest

SLICES = 400


def write_tree(folder: Path, files: int) -> None:
    """Series of 400 tiny slices, one a person, in folders as a PACS exports them; headers as long as a scanner's."""
    for number in range(files):
        series, slice_number = divmod(number, SLICES)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID = f"1.2.3.{series}", f"1.2.4.{series}"
        data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.PatientName, data.PatientID, data.PatientBirthDate = f"P{series}", f"{series}", "19500101"
        data.ImagePositionPatient = [-12.5, -12.5, round(0.3 * slice_number, 3)]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [0.3, 0.3], 0.6
        data.Rows = data.Columns = 8
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept, data.ConvolutionKernel = 1, 0, "H70h"
        for filler in range(40):
            data.add_new((0x0019, 0x1000 + filler), "LO", "a private value of the vendor")
        data.PixelData = np.zeros((8, 8), np.int16).tobytes()
        target = folder / f"study{series:04}" / f"IM{slice_number:05}"
        target.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(target, data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as name:
        write_tree(Path(name), files)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, cpu = time.perf_counter(), time.process_time()
        found = ingest(Path(name))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert len(found.series) == -(-files // SLICES)
        print(f"{files} files: {cpu:.1f} s of CPU time ({1e6 * cpu / files:.0f} us a file), {wall:.1f} s in all")
        print(f"peak memory grew by {peak / 1024:.0f} MiB, {1024 * peak / files:.0f} bytes a file")
        del found
        some = Path(name) / "study0000"
        tracemalloc.start()
        kept = ingest(some)
        print(f"kept: {tracemalloc.get_traced_memory()[0] / kept.files:.0f} bytes a file")
        tracemalloc.stop()
        profile = cProfile.Profile()
        profile.runcall(ingest, some)
        text = io.StringIO()
        pstats.Stats(profile, stream=text).sort_stats("cumulative").print_stats(18)
        print("\n".join(text.getvalue().splitlines()[2:]))


if __name__ == "__main__":
    main()
