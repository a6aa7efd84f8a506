"""A run as a MONAI bundle: MONAI accepts and runs it, results are the run's own, and nobody is in it."""

import json
import pickle
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from medlangevin import MedlangevinError, generate, load_bundle, load_run
from medlangevin.inference.bundle import Encoder, encode, sample
from medlangevin.inference.bundle.export import FILES, export

# What MONAI's specification of bundles demands of metadata.json and of each tensor in it.
TEXTS = ["schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors"]
TENSOR = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "format": {"type": "string"},
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}},
        "dtype": {"type": "string"},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object"},
    },
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
}
NETWORK = {
    "type": "object",
    "properties": {side: {"type": "object", "additionalProperties": TENSOR} for side in ("inputs", "outputs")},
    "required": ["inputs", "outputs"],
}
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in (*TEXTS, "copyright")}
    | {"required_packages_version": {"type": "object", "additionalProperties": {"type": "string"}}},
    "patternProperties": {"_data_format$": NETWORK},
    "required": [*TEXTS, "copyright", "required_packages_version", "network_data_format"],
}


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(run, tmp_path_factory.mktemp("bundles") / "known")


@pytest.mark.slow
def test_monai_draws_the_volumes_of_generate(run: Path, bundle: Path, tmp_path: Path) -> None:
    command = "-m monai.bundle run --config_file configs/inference.json --count 2 --seed 5 --noise True --output_dir"
    done = subprocess.run(
        [sys.executable, *command.split(), str(tmp_path / "out")],
        cwd=bundle,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = generate(run, tmp_path / "expected", count=2, seed=5, noise=True)
    assert len(expected) == 2
    for path in expected:
        drawn = tmp_path / "out/samples" / path.name
        images = nibabel.load(path), nibabel.load(drawn)
        assert images[1].get_data_dtype() == np.int16
        np.testing.assert_array_equal(np.asarray(images[0].dataobj), np.asarray(images[1].dataobj))
        np.testing.assert_array_equal(images[0].affine, images[1].affine)
        sidecar = path.name.replace(".nii.gz", ".json")
        assert (drawn.parent / sidecar).read_text() == (path.parent / sidecar).read_text()


@pytest.mark.slow
def test_monai_encodes_an_image_as_the_run_does(
    run: Path, ear: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``python -m monai.bundle run encode`` from elsewhere, in this process to spare the imports."""
    arguments = {"config_file": bundle / "configs/inference.json", "bundle_root": bundle, "image": ear}
    options = [f"--{name}={value}" for name, value in arguments.items()]
    monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", "encode", *options, f"--output_dir={tmp_path}"])
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=False)
    table = pd.read_csv(tmp_path / "latents.tsv", sep="\t")
    assert list(table.columns) == ["image", "z1", "z2", "z3"]
    assert table.image.tolist() == [ear.name]
    trained = load_run(run)
    latent = trained.encode(ear)
    assert latent.abs().min() > 0
    np.testing.assert_array_equal(table[["z1", "z2", "z3"]].to_numpy()[0].astype(np.float32), latent.numpy())
    torch.testing.assert_close(Encoder(bundle)(trained.image(ear)), latent[None], rtol=0, atol=0)


def test_a_folder_is_encoded_ear_by_ear(run: Path, ears: list[Path], bundle: Path, tmp_path: Path) -> None:
    table = pd.read_csv(encode(bundle, tmp_path, image=ears[0].parent), sep="\t")
    assert table.image.tolist() == [ear.name for ear in ears]
    latent = table.loc[3, ["z1", "z2", "z3"]].to_numpy(dtype=float)
    np.testing.assert_allclose(latent, load_run(run).encode(ears[3]).numpy(), rtol=1e-6)


def test_monai_accepts_metadata_and_network(bundle: Path, tmp_path: Path) -> None:
    """MONAI fetches its schema from the network; here it finds, in that file's place, what its specification says."""
    from monai.bundle import ConfigWorkflow, verify_metadata, verify_net_in_out  # takes every worker five seconds

    meta, config, schema = bundle / "configs/metadata.json", bundle / "configs/inference.json", tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    verify_metadata(meta_file=str(meta), filepath=str(schema))
    broken = json.loads(meta.read_text())
    del broken["network_data_format"]["inputs"]["image"]["dtype"]
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(tmp_path / "broken.json"), filepath=str(schema))
    common = {"meta_file": str(meta), "config_file": str(config), "bundle_root": str(bundle)}
    verify_net_in_out("network_def", device="cpu", **common)
    workflow = ConfigWorkflow(workflow_type=None, **common)
    workflow.initialize()
    assert workflow.check_properties() == []
    assert (workflow.spatial_shape, workflow.channel_def["0"]) == ([8, 6, 5], "z1")


def test_a_bundle_holds_nothing_of_the_ears_and_no_path(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "hospital" / "known")
    data = json.loads((copy / "data.json").read_text())
    assert {"seen_subjects", "ears_sha256", "validation_source"} <= data.keys()
    data |= {"seen_subjects": ["e350505012"], "validation_source": "of hospital"}
    (copy / "data.json").write_text(json.dumps(data))
    config = (copy / "config.yaml").read_text()
    assert str(run.parent.parent) in config
    (copy / "config.yaml").write_text(config.replace(str(run.parent.parent), "/data/hospital"))
    bundle = export(copy, tmp_path / "bundle")
    assert {path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file()} == FILES
    content = b"".join((bundle / path).read_bytes() for path in FILES)
    for word in ("e350505012", "hospital", data["ears_sha256"], str(tmp_path), '_ct.nii.gz"'):
        assert word.encode() not in content, word


def test_nothing_is_unpickled(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    assert len(sample(bundle, tmp_path)) == 1
    assert not list(bundle.rglob("*.pt"))


def test_a_bundle_from_python_is_the_run_without_its_data(run: Path, bundle: Path) -> None:
    trained, loaded = load_run(run), load_bundle(bundle)
    np.testing.assert_array_equal(loaded.sample(2, seed=1), trained.sample(2, seed=1))
    np.testing.assert_array_equal(loaded.affine, trained.affine)
    assert (loaded.config.model, loaded.window_hu) == (trained.config.model, trained.window_hu)
    assert not loaded.model.training


def test_other_files_are_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(MedlangevinError, match=r"mine\.txt is there, which export did not write"):
        export(run, tmp_path)
    with pytest.raises(MedlangevinError, match="is a file"):
        export(run, tmp_path / "mine.txt")
    other = tmp_path / "other" / "configs"
    other.mkdir(parents=True)
    (other / "metadata.json").write_text("{}")
    with pytest.raises(MedlangevinError, match="holds a bundle of another program"):
        export(run, other.parent)
    ours = export(run, tmp_path / "ours")
    (ours / "eval").mkdir()
    export(run, ours)  # an empty folder is nobody's work
    (ours / "eval").mkdir()
    (ours / "eval/latents.tsv").write_text("mine")
    with pytest.raises(MedlangevinError, match=r"eval/latents\.tsv is there"):
        export(run, ours)
    assert (ours / "eval/latents.tsv").read_text() == "mine"


def test_an_export_that_fails_leaves_the_former_bundle(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = export(run, tmp_path / "bundle")
    before = {path: (bundle / path).read_bytes() for path in FILES}

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    for folder in (bundle, tmp_path / "new"):
        with pytest.raises(MedlangevinError, match="make room"):
            export(run, folder)
    assert {path: (bundle / path).read_bytes() for path in FILES} == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    with pytest.raises(MedlangevinError, match="does not exist"):
        export(run / "none", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda metadata: metadata.pop("medlangevin"), "is not of a bundle that medlangevin export made"),
        (lambda metadata: metadata["medlangevin"].update(format=9), "has format 9, this version reads 1"),
        (lambda metadata: metadata["medlangevin"].update(epoch="x"), "is damaged"),
        (lambda metadata: metadata["medlangevin"].update(affine=[[0]]), "is damaged"),
        (lambda metadata: metadata["medlangevin"].pop("window_hu"), "data.window_hu"),
        (lambda metadata: metadata["medlangevin"]["model"].update(kind="os.system"), "'model.kind'"),
        (lambda metadata: metadata["medlangevin"]["model"].update(latent_dim=4), "weights of another model"),
    ],
)
def test_a_damaged_bundle_is_one_line(bundle: Path, tmp_path: Path, change: Any, words: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    metadata = json.loads((copy / "configs/metadata.json").read_text())
    change(metadata)
    (copy / "configs/metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(MedlangevinError) as raised:
        load_bundle(copy)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_wrong_use_of_the_workflows_is_one_line(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match="count 0"):
        sample(bundle, tmp_path / "out", count=0)
    with pytest.raises(MedlangevinError, match="image is missing"):
        encode(bundle, tmp_path / "out", image=None)
    with pytest.raises(MedlangevinError, match="is no bundle"):
        sample(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
