"""Stands in for medlangevin: writes the files that a command leaves, at once, and fails where it is told to.

CALLS: file that every call is noted in. FAIL: JSON of {"word of a call": [exit codes, one a call, the last one stays]};
negative: a crash.
"""

import json
import os
import sys
from pathlib import Path

CROPS = {"dataset.json": "{}", "participants.tsv": "", "failures.tsv": "", "qc/index.html": "", "qc/ear.png": ""}
STATUS = {"persons": {"ab": {"failures": [], "failed": []}}, "failures": []}
PICTURES = ("curves.png", "reconstructions.png", "samples.png")


def main(call: list[str]) -> int:
    calls = Path(os.environ["CALLS"])
    with calls.open("a") as file:
        file.write(" ".join(call) + "\n")
    before = calls.read_text()
    code = 0
    for word, codes in json.loads(os.environ.get("FAIL", "{}")).items():
        if word in " ".join(call):
            code = codes[min(before.count(word), len(codes)) - 1]
    if code < 0:
        raise RuntimeError("a crash, which ends with 1 as well")
    if code < 2:
        for path, text in products(call[0], call).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    print(f"{call[0]} ends with {code}")
    return code


def products(command: str, call: list[str]) -> dict[Path, str]:
    def value(option: str) -> str:
        return call[call.index(option) + 1]

    if command == "preprocess" and "--merge" not in call:
        return {Path(value("--out"), "status.json"): json.dumps(STATUS)}
    if command == "preprocess":
        return {Path(value("--out"), name): text for name, text in CROPS.items()}
    if command == "train":
        settings = dict(call[at + 1].split("=") for at, word in enumerate(call) if word == "--set")
        run = Path(settings["output_dir"], settings["name"])
        if run.exists():  # as the program itself would
            assert (run / "config.yaml").is_file(), "not the folder of a run"
        return {run / "config.yaml": "", **{run / "samples" / name: "" for name in PICTURES}}
    if command == "evaluate":
        return {Path(call[1], "evaluation.json"): "{}"}
    if command == "generate":
        return {Path(value("--out"), "montage.png"): ""}
    if command == "shape":
        return {Path(call[1], "shape", name): "" for name in ("comparison.tsv", "comparison.png")}
    if command == "audit":
        return {Path(value("--synthetic"), "audit", name): "" for name in ("audit.json", "nearest_pairs.png")}
    return {Path(value("--out")): "a page"}


sys.exit(main(sys.argv[1:]))
