"""Running a table: once for each cell, whatever was there before, and whatever goes wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medlangevin.papers.table import measure as measure_module
from medlangevin.papers.table import run as run_module
from medlangevin.papers.table.folder import cell_lock
from medlangevin.papers.table.measure import measure
from medlangevin.papers.table.prepare import Table, prepare, states
from medlangevin.papers.table.records import Record, read_record, record_path, write_record
from medlangevin.papers.table.run import require_no_failures, run, write_table
from medlangevin.system.errors import MedlangevinError, PartialFailureError
from medlangevin.system.lock import BusyError, locked

Prepare = Callable[..., Table]


@pytest.fixture
def prepared(write_table: Callable[[dict[str, Any]], Path], image_root: Path, tmp_path: Path) -> Prepare:
    """``prepared(definition, "pattern", ...)``: a table in tmp_path/out."""

    def make(definition: dict[str, Any], *only: str) -> Table:
        return prepare(write_table(definition), tmp_path / "out", data_root=image_root, only=only)

    return make


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the cells that are trained from now on."""
    trained: list[str] = []

    def measured(cell: Any, *arguments: Any, **named: Any) -> Record:
        trained.append(cell.id)
        return measure(cell, *arguments, **named)

    monkeypatch.setattr(run_module, "measure", measured)
    return trained


def test_every_cell_is_measured_once(
    prepared: Prepare, definition: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = counting(monkeypatch)
    out = tmp_path / "out"
    assert states(prepared(definition)) == [
        ("vae-dots-seed0", "not started"),
        ("vae-dots-seed1", "not started"),
        ("lae-dots-seed0", "not started"),
        ("vae-colours-seed0", "not started"),
    ]
    assert not out.exists()

    assert run(prepared(definition, "lae-*", "*-seed1")) == {}
    assert trained == ["vae-dots-seed1", "lae-dots-seed0"]
    assert "| vae-dots-seed0 | 0 | not measured |" in (out / "table.md").read_text()
    assert [state for _, state in states(prepared(definition))] == [
        "not started",
        "measured",
        "measured",
        "not started",
    ]

    assert run(prepared(definition)) == {}
    assert trained == ["vae-dots-seed1", "lae-dots-seed0", "vae-dots-seed0", "vae-colours-seed0"]
    table = (out / "table.csv").read_text()
    assert run(prepared(definition)) == {}
    assert len(trained) == 4
    assert (out / "table.csv").read_text() == table

    record = read_record(record_path(out, "lae-dots-seed0"))
    assert (record.epochs, record.row, record.seed, record.device) == (2, "lae", 0, "cpu (1 thread)")
    assert record.figures["negative_elbo"].count == 12
    assert set(record.figures) >= {"acceptance", "first_epoch_acceptance", "seconds_per_epoch", "best_epoch"}
    assert record.command.endswith("--only lae-dots-seed0")
    assert str(tmp_path) not in record_path(out, "lae-dots-seed0").read_text()
    assert str(tmp_path) not in (out / "table.md").read_text()


def test_a_measured_cell_with_another_configuration_is_refused_before_anything_is_trained(
    prepared: Prepare, definition: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(prepared(definition, "vae-dots-seed0"))
    trained = counting(monkeypatch)

    def refused(message: str) -> None:
        with pytest.raises(MedlangevinError, match=message) as error:
            run(prepared(definition))
        assert "\n" not in str(error.value)
        assert trained == []

    definition["rows"]["vae"]["training"] = {"epochs": 5}
    refused(r"vae-dots-seed0.json was measured with training.epochs = 2, the table has 5; set it back, choose another")
    del definition["rows"]["vae"]["training"]
    definition["evaluation"] = {"elbo_draws": 3}
    refused("was measured with evaluation.elbo_draws = 1, the table has 3; .* move the file away to measure")
    definition["evaluation"] = {"importance": {"samples": 2, "images": 2}}
    refused("evaluation.importance")
    definition["evaluation"] = {"evidence": {"samples": 2}}
    refused("evaluation.evidence")
    del definition["evaluation"]
    definition["rows"]["vae"]["data_sets"] = {"dots": {"model": {"likelihood": {"kind": "gaussian"}}}}
    refused("model.likelihood.kind = discretized_logistic, the table has gaussian")
    del definition["rows"]["vae"]["data_sets"]
    # The place of the images and the device are not part of what was measured, nor are other rows and seeds.
    definition["base"]["training"]["accelerator"] = "auto"
    definition["base"]["images"]["root"] = "elsewhere"
    definition["rows"]["vae"]["seeds"]["dots"] = [0, 1, 2]
    assert states(prepared(definition))[0] == ("vae-dots-seed0", "measured")


@pytest.mark.slow
def test_a_cell_from_before_there_was_the_evidence_is_kept_and_shown_without_it(
    prepared: Prepare,
    definition: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    logged: Callable[[], str],
) -> None:
    """Its record has no key of that name. What is measured now stands beside it, and the two are ranked."""
    run(prepared(definition, "vae-dots-seed0"))
    path = record_path(tmp_path / "out", "vae-dots-seed0")
    record = json.loads(path.read_text())
    assert record["evaluation"].pop("evidence") is None
    path.write_text(json.dumps(record))
    definition["evaluation"] = {"evidence": {"samples": 30, "images": 3}}
    definition["figures"] = ["negative_elbo", "nll"]
    trained = counting(monkeypatch)
    table = prepared(definition)
    assert states(table)[0] == ("vae-dots-seed0", "measured")
    logged()
    assert run(table) == {}
    assert "vae-dots-seed0" not in trained
    assert f"measured already, without evaluation.evidence, which is newer; move {path} away to measure" in logged()
    text = (tmp_path / "out" / "table.md").read_text()
    section = text.split("## dots")[1].split("## ")[0]
    lines = {line.split(" | ")[0].strip("| "): line.strip("|").split(" | ") for line in section.splitlines()[2:5]}
    assert "cannot be ranked" not in text
    assert "1 of 2 seeds" in lines["VAE"][-1]
    # One that lacks the figure in all seeds: not the model's fault.
    record_path(tmp_path / "out", "vae-dots-seed1").unlink()
    definition["rows"]["vae"]["seeds"]["dots"] = [0]
    run(prepared(definition, "vae-dots-seed0"))
    text = (tmp_path / "out" / "table.md").read_text()
    line = next(line for line in text.split("## dots")[1].splitlines() if line.startswith("| VAE |"))
    assert line.endswith("| not measured |")
    # The same measure in other numbers is another one.
    definition["evaluation"]["elbo_draws"] = 3
    with pytest.raises(MedlangevinError, match=r"was measured with evaluation.elbo_draws = 1, the table has 3"):
        run(prepared(definition))


def test_a_run_that_was_begun_with_another_configuration_is_refused(
    prepared: Prepare, definition: dict[str, Any], tmp_path: Path
) -> None:
    run(prepared(definition, "vae-dots-seed0"))
    record_path(tmp_path / "out", "vae-dots-seed0").unlink()
    assert states(prepared(definition))[0] == ("vae-dots-seed0", "trained to epoch 2 of 2")
    definition["base"]["training"]["epochs"] = 3  # going on for longer is no other training
    assert states(prepared(definition))[0] == ("vae-dots-seed0", "trained to epoch 2 of 3")
    definition["base"]["training"]["learning_rate"] = 0.5
    with pytest.raises(
        MedlangevinError, match=r"is being trained with training.learning_rate = 0.001, the table has 0.5"
    ):
        run(prepared(definition))
    assert states(prepared(definition))[0][1].startswith("cannot go on: ")
    assert states(prepared(definition))[1] == ("vae-dots-seed1", "not started")
    del definition["base"]["training"]["learning_rate"]
    definition["base"]["training"]["epochs"] = 1
    with pytest.raises(MedlangevinError, match=r"training.epochs = 2, the table has 1"):
        run(prepared(definition))
    definition["base"]["training"]["epochs"] = 3
    assert run(prepared(definition, "vae-dots-seed0")) == {}
    assert read_record(record_path(tmp_path / "out", "vae-dots-seed0")).epochs == 3


def test_a_failed_cell_is_on_record_and_the_others_go_on(
    prepared: Prepare, definition: dict[str, Any], tmp_path: Path
) -> None:
    good = definition["rows"]["vae"].copy()
    definition["rows"]["vae"]["training"] = {"learning_rate": 1e30, "gradient_clip": 1e30}
    failed = run(prepared(definition, "*-dots-*"))
    assert list(failed) == ["vae-dots-seed0", "vae-dots-seed1"]
    assert "is not finite" in failed["vae-dots-seed0"]
    out = tmp_path / "out"
    assert [state.split(":")[0] for _, state in states(prepared(definition))] == [
        "failed",
        "failed",
        "measured",
        "not started",
    ]
    assert "failed" in (out / "table.md").read_text()
    with pytest.raises(
        PartialFailureError, match=r"^2 cells failed \(vae-dots-seed0, vae-dots-seed1: training stopped at step 2 "
    ):
        require_no_failures(failed)
    assert not record_path(out, "vae-dots-seed0").exists()

    definition["rows"]["vae"] = good  # it is tried again, and forgotten when it works
    assert run(prepared(definition, "*-dots-*")) == {}
    assert [state for _, state in states(prepared(definition))][:3] == ["measured"] * 3
    assert not (out / "failures" / "vae-dots-seed0.json").exists()


def test_a_missing_set_fails_its_cells_and_the_others_go_on(prepared: Prepare, definition: dict[str, Any]) -> None:
    definition["data_sets"]["dots"]["images"]["set"] = "lost.npz"
    failed = run(prepared(definition))
    assert set(failed) == {"vae-dots-seed0", "vae-dots-seed1", "lae-dots-seed0"}
    assert all("lost.npz does not exist" in reason for reason in failed.values())
    with pytest.raises(MedlangevinError, match=r"lost\.npz does not exist"):
        run(prepared(definition, "*-dots-*"))


def test_cells_that_fail_for_one_reason_are_listed_together() -> None:
    require_no_failures({})
    with pytest.raises(PartialFailureError, match=r"^3 cells failed \(a, c: no images; b: diverged\)$"):
        require_no_failures({"a": "no images", "b": "diverged", "c": "no images"})


def test_what_cannot_be_measured_fails_before_it_is_trained(
    prepared: Prepare,
    definition: dict[str, Any],
    image_root: Path,
    write_images: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_images(image_root / "untested.npz", (1, 4, 4), train=24, valid=8)
    definition["data_sets"]["dots"]["images"]["set"] = "untested.npz"
    trained: list[Any] = []
    monkeypatch.setattr(measure_module, "train", lambda *_, **__: trained.append(1))
    failed = run(prepared(definition, "*-dots-*"))
    assert all("holds no test images" in reason for reason in failed.values())
    definition["name"], definition["figures"] = "tiny", ["inception_score"]
    definition["evaluation"] = {"inception": {"samples": 10}}
    definition["rows"]["vae"]["published"] = {}
    failed = run(prepared(definition, "vae-colours-*"))
    assert "are for digits of 1 x 28 x 28" in failed["vae-colours-seed0"]
    assert trained == []


def test_a_longer_training_is_another_one_where_the_learning_rate_depends_on_its_length(
    prepared: Prepare, definition: dict[str, Any], tmp_path: Path
) -> None:
    definition["base"]["training"]["learning_rate_schedule"] = "cosine"
    run(prepared(definition, "vae-dots-seed0"))
    record_path(tmp_path / "out", "vae-dots-seed0").unlink()
    definition["base"]["training"]["epochs"] = 3
    with pytest.raises(MedlangevinError, match=r"training.epochs = 2, the table has 3"):
        run(prepared(definition, "vae-dots-seed0"))


def test_a_run_without_its_metrics_is_one_line(prepared: Prepare, definition: dict[str, Any], tmp_path: Path) -> None:
    run(prepared(definition, "vae-dots-seed0"))
    record_path(tmp_path / "out", "vae-dots-seed0").unlink()
    (tmp_path / "out" / "runs" / "vae-dots-seed0" / "metrics.csv").unlink()
    failed = run(prepared(definition, "vae-dots-seed0"))
    assert "metrics.csv is gone" in failed["vae-dots-seed0"]


def test_records_of_other_images_are_neither_ranked_nor_compared(
    prepared: Prepare, definition: dict[str, Any], make_record: Callable[..., Record]
) -> None:
    table = prepared(definition)
    better = {"vae": 50.0, "lae": 90.0}
    for cell in table.cells:
        record = make_record(cell, table.config, negative_elbo=(better[cell.row], 0.1, 12))
        write_record(table.out, record)
    run(table)
    text = (table.out / "table.md").read_text()
    assert "**50" in text
    lae = next(cell for cell in table.cells if cell.row == "lae")
    other = make_record(lae, table.config, negative_elbo=(90.0, 0.1, 12)).model_copy(update={"images_sha256": "1" * 64})
    write_record(table.out, other)
    run(table)
    text = (table.out / "table.md").read_text()
    assert "**" not in text
    assert "not all judged on the same images" in text


def test_cells_from_another_machine_count_as_measured(
    prepared: Prepare,
    definition: dict[str, Any],
    make_record: Callable[..., Record],
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[], str],
) -> None:
    trained = counting(monkeypatch)
    table = prepared(definition)
    for cell in table.cells:
        write_record(table.out, make_record(cell, table.config, negative_elbo=(90.0, 1.0, 12)))
    (table.out / "cells" / "ae-dots-seed0.json").write_text("{}")
    assert run(prepared(definition)) == {}
    assert trained == []
    assert "ae-dots-seed0.json belongs to no cell of the table" in logged()
    assert "cuda (a GPU)" in (table.out / "table.md").read_text()
    assert "90.0 ± 1.0 (se, 1 seed)" in (table.out / "table.md").read_text()


def test_a_record_from_before_a_setting_existed_has_its_default(
    prepared: Prepare, definition: dict[str, Any], make_record: Callable[..., Record]
) -> None:
    table = prepared(definition)
    record = make_record(table.cells[0], table.config, negative_elbo=(90.0, 1.0, 12))
    del record.configuration["training"]["matmul_precision"]
    del record.evaluation["elbo_draws"]
    write_record(table.out, record)
    assert states(prepared(definition))[0] == ("vae-dots-seed0", "measured")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.pop("figures"), "key 'figures' is missing; restore .* or delete it to measure the cell again"),
        (lambda raw: raw["figures"]["negative_elbo"].update(mean="much"), "'figures.negative_elbo.mean'"),
        (lambda raw: raw["figures"]["negative_elbo"].update(mean=float("nan")), "NaN is not a finite number"),
        (lambda raw: raw["figures"]["negative_elbo"].update(standard_error=-1.0), "negative_elbo.standard_error'"),
        (lambda raw: raw["figures"]["negative_elbo"].update(values=[1.0, 2.0]), "count is 12, but there are 2 values"),
        (lambda raw: raw.update(surplus=1), "unknown key 'surplus'"),
        (lambda raw: raw.update(device=None), "'device'"),
        (lambda raw: raw.update(seed=7), "row, data_set and seed are not those of vae-dots-seed0"),
        (lambda raw: raw.update(id="other"), "is the record of the cell other; call the file other.json"),
        (lambda raw: raw.update(format=99), "'format'"),
        (lambda raw: raw.update(configuration="none"), "'configuration'"),
        (lambda raw: raw["configuration"].pop("model"), "configuration: key 'model' is missing"),
    ],
)
def test_a_damaged_record_is_one_line_that_names_the_file(
    prepared: Prepare,
    definition: dict[str, Any],
    make_record: Callable[..., Record],
    change: Callable[[dict[str, Any]], None],
    message: str,
) -> None:
    table = prepared(definition)
    write_record(table.out, make_record(table.cells[0], table.config, negative_elbo=(90.0, 1.0, 12)))
    path = record_path(table.out, table.cells[0].id)
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(MedlangevinError, match=message) as error:
        run(prepared(definition))
    assert states(prepared(definition))[0][1].startswith("cannot go on: ")
    assert "vae-dots-seed0.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("damage", "place"),
    [({"images": 5}, "images"), ({"model": None}, "model"), ({"model": {"likelihood": []}}, "model.likelihood")],
)
def test_a_damaged_record_of_a_cell_that_is_not_worked_on_is_one_line(
    prepared: Prepare,
    definition: dict[str, Any],
    make_record: Callable[..., Record],
    damage: dict[str, Any],
    place: str,
) -> None:
    table = prepared(definition)
    write_record(table.out, make_record(table.cells[0], table.config, negative_elbo=(90.0, 1.0, 12)))
    path = record_path(table.out, table.cells[0].id)
    raw = json.loads(path.read_text())
    raw["configuration"] |= damage
    path.write_text(json.dumps(raw))
    with pytest.raises(MedlangevinError, match=f"configuration.{place} is not a section of keys") as error:
        write_table(table)
    assert "\n" not in str(error.value)


def test_a_figure_that_is_not_finite_is_not_written(
    prepared: Prepare, definition: dict[str, Any], make_record: Callable[..., Record]
) -> None:
    table = prepared(definition)
    with pytest.raises(MedlangevinError, match="negative_elbo of vae-dots-seed0 is not finite"):
        write_record(table.out, make_record(table.cells[0], table.config, negative_elbo=(float("nan"), 1.0, 12)))
    assert not table.out.exists()


def test_a_folder_with_other_things_or_another_table_is_refused(
    prepared: Prepare, definition: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("")
    with pytest.raises(MedlangevinError, match=r"holds thesis.tex, which benchmark did not write"):
        prepared(definition)
    (out / "thesis.tex").unlink()
    run(prepared(definition, "vae-dots-seed0"))
    (out / "log.txt").write_text("")  # beside a marker, anything may lie
    prepared(definition)
    definition["name"] = "other"
    with pytest.raises(MedlangevinError, match="holds the table tiny, not other; choose another folder"):
        prepared(definition)
    (out / "benchmark.yaml").write_text("[")
    with pytest.raises(MedlangevinError, match=r"benchmark.yaml is damaged"):
        prepared(definition)
    with pytest.raises(MedlangevinError, match="is a file"):
        prepare(tmp_path / "tiny.yaml", tmp_path / "tiny.yaml")


def test_a_cell_that_another_process_works_on_is_left_alone(
    prepared: Prepare,
    definition: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[], str],
) -> None:
    trained = counting(monkeypatch)
    table = prepared(definition, "*-dots-seed0")
    folder = table.out / "runs"
    folder.mkdir(parents=True)
    # A lock belongs to the open file, so a second one in this process is as good as another process.
    with locked(folder / "vae-dots-seed0.lock", shared=False, busy=""):
        assert run(table) == {}
        assert trained == ["lae-dots-seed0"]
        assert "another process is working on it" in logged()
    assert run(table) == {}
    assert trained == ["lae-dots-seed0", "vae-dots-seed0"]
    with cell_lock(table.out, "vae-dots-seed0") as ours:
        assert ours
        with pytest.raises(BusyError), cell_lock(table.out, "vae-dots-seed0"):
            pass


def test_an_interrupted_training_is_gone_on_with(
    prepared: Prepare, definition: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("medlangevin.papers.table.measure.evaluate_images", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(prepared(definition))
    assert states(prepared(definition))[0] == ("vae-dots-seed0", "trained to epoch 2 of 2")
    assert not list((tmp_path / "out" / "failures").iterdir())
    assert run(prepared(definition, "vae-dots-seed0")) == {}
