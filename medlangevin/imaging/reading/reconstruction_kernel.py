"""How sharp a CT reconstruction kernel is, from the vendors' names for it; the name is free text and not kept.

Ranks the series of one ear and parts the images of two reconstruction kernels that share one series. The rules follow
each vendor's own naming: no standard orders reconstruction kernels across vendors.
"""

import re
from itertools import product

SHARP, UNKNOWN, SOFT = 2, 1, 0

# Canon (Toshiba): FCnn. 30s: bone and inner ear; 80s: high-resolution bone; 50s and 70s (lung) enhance edges less.
CANON = re.compile(r"FC(\d)\d")
# Siemens: a family of one or two letters (H, B, U, I, J, Hr, Br, Ur ...), sharpness in tens, then the scan's speed.
SIEMENS = re.compile(r"[A-Z]{1,2}(\d\d)[A-Z]?")
SIEMENS_BONE, SIEMENS_SOFT = 60, 45

# Whole words: GE's names, Philips' letters (A smooth to F sharp; U: brain, E.: enhanced brain, Y.: detail to inner
# ear; IAMR: inner ear), the ConvolutionKernelGroup of enhanced CT, and the plain words other vendors use.
SHARP_WORDS = {
    *("BONE", "BONEPLUS", "BONE+", "HDBONE", "HDBONEPLUS", "EDGE", "HDEDGE", "ULTRA", "HDULTRA"),
    *("D", "E", "F", "YC", "YD", "YE", "IAMR"),
    *("SHARP", "SHARPER", "SHARPPLUS", "EAR", "INNEREAR", "UHR", "UHRES"),
}
SOFT_WORDS = {
    *("STANDARD", "STD", "STND", "SOFT", "CHST", "HDSTAND", "HDSOFT", "HDCHST"),
    *("A", "B", "UA", "UB", "UC", "EA", "EB", "EC"),
    *("SMOOTH", "SMOOTHER", "BRAIN", "BODY", "BODYROUTINE", "BODYSOFTTISSUE", "ROUTINE", "TISSUE"),
}
IN_BETWEEN_WORDS = {"DETAIL", "HDDETAIL", "LUNG", "HDLUNG", "C", "L", "YA", "YB"}


def sharpness(convolution_kernel: str) -> int:
    """Class a reconstruction kernel by its name.

    Cone-beam scanners name none, or one that nobody else uses: those are unknown.

    Args:
        convolution_kernel: The value of ConvolutionKernel. It may hold several values, parted by a backslash as in
            DICOM; the first that is known decides.

    Returns:
        2 sharp (bone), 1 in between or unknown, 0 soft.
    """
    classes = (_class_of(value.strip()) for value in convolution_kernel.upper().split("\\"))
    return next((known for known in classes if known is not None), UNKNOWN)


def _class_of(value: str) -> int | None:
    compact = re.sub(r"[\s_-]+", "", value)
    if canon := CANON.match(compact):
        return {"3": SHARP, "8": SHARP, "5": UNKNOWN, "7": UNKNOWN}.get(canon.group(1), SOFT)
    if siemens := SIEMENS.fullmatch(compact):
        number = int(siemens.group(1))
        return SHARP if number >= SIEMENS_BONE else SOFT if number <= SIEMENS_SOFT else UNKNOWN
    # "BONE" is sharp wherever it stands; "SHARP" outweighs the "BODY" that it is meant for; the rest decides after.
    words = {word for word in re.split(r"[\s_()/-]+", value) if len(word) > 2}
    kinds = ((SHARP_WORDS, SHARP), (IN_BETWEEN_WORDS, UNKNOWN), (SOFT_WORDS, SOFT))
    return next((kind for named, (known, kind) in product(({compact}, words), kinds) if named & known), None)
