"""The notebook runner on small made-up labs: order, parameters, resuming, errors, outputs."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from shared.errors import PeftLabsError, RunError
from shared.notebooks import (
    NotebookFailed,
    check_outputs,
    collect,
    fingerprint,
    labs_with_notebooks,
    notebooks_of,
    refresh_outputs,
    run_labs,
    summary,
)
from shared.notebooks.runner import Run
from shared.runs import RunFolder

DEFAULT = Run()
PARAMETERS = 'PROFILE = None\nSEED = 0\nRUN_NAME = "default"'


def make_notebook(path: Path, *sources: str) -> None:
    """Write a notebook of a title, the parameters and some code cells."""
    cells = [nbformat.v4.new_markdown_cell("# A lab"), nbformat.v4.new_code_cell(PARAMETERS)]
    cells[1].metadata["tags"] = ["parameters"]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout whose labs and runs are found instead of ours."""
    for module in ("shared.notebooks.collect", "shared.notebooks.resume"):
        monkeypatch.setattr(f"{module}.repo_root", lambda: tmp_path)
    monkeypatch.setattr("shared.notebooks.collect.lab_folder", lambda lab: tmp_path / lab)
    monkeypatch.setenv("PEFT_LABS_RUNS", str(tmp_path / "runs"))
    return tmp_path


@pytest.fixture
def lab(checkout: Path) -> Path:
    """A lab of two notebooks: 01 writes its parameters into a file of the lab's folder, 02 reads that file."""
    write = "import json\nwith open('seen.json', 'w') as file:\n    json.dump([PROFILE, SEED, RUN_NAME], file)"
    make_notebook(checkout / "Lab-X" / "01-Setup.ipynb", write)
    make_notebook(checkout / "Lab-X" / "02-Train.ipynb", "print(open('seen.json').read())")
    return checkout / "Lab-X"


def executed(lab: Path, stage: str, run: Run = DEFAULT) -> list[str]:
    """The texts that an executed copy printed."""
    node = nbformat.read(run.executed(lab.name) / f"{stage}.ipynb", as_version=4)
    return [output.text for cell in node.cells if cell.cell_type == "code" for output in cell.outputs]


def test_parameters_reach_the_notebooks_and_01_runs_before_02(lab: Path, capfd: pytest.CaptureFixture) -> None:
    copies = run_labs(["Lab-X"], profile="tiny", seed=7, run_name="other")
    assert executed(lab, "02-Train", Run("tiny", 7, "other")) == ['["tiny", 7, "other"]\n']
    assert [path.name for path in copies["Lab-X"]] == ["01-Setup.ipynb", "02-Train.ipynb"]
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[1:-1]] == ["01-Setup", "02-Train"], "one line a notebook, in order"


def test_resume_skips_only_what_is_unchanged(lab: Path, capfd: pytest.CaptureFixture) -> None:
    run_labs(["Lab-X"])
    capfd.readouterr()
    run_labs(["Lab-X"], resume=True)
    assert capfd.readouterr().out.count("done before") == 2
    make_notebook(lab / "02-Train.ipynb", "print('changed')")
    run_labs(["Lab-X"], resume=True)
    assert capfd.readouterr().out.count("done before") == 1
    assert executed(lab, "02-Train") == ["changed\n"]


def test_resume_runs_again_what_follows_a_changed_notebook(lab: Path, capfd: pytest.CaptureFixture) -> None:
    run_labs(["Lab-X"])
    make_notebook(lab / "01-Setup.ipynb", "open('seen.json', 'w').write('new')")
    capfd.readouterr()
    run_labs(["Lab-X"], resume=True)
    assert "done before" not in capfd.readouterr().out
    assert executed(lab, "02-Train") == ["new\n"]


def test_resume_does_not_trust_other_parameters_or_a_damaged_state(lab: Path, capfd: pytest.CaptureFixture) -> None:
    run_labs(["Lab-X"], stages=["01"])
    capfd.readouterr()
    run_labs(["Lab-X"], stages=["01"], seed=1, resume=True)
    assert "done before" not in capfd.readouterr().out
    (DEFAULT.executed("Lab-X") / "state.json").write_text("{half")
    run_labs(["Lab-X"], stages=["01"], seed=1, resume=True)
    assert "done before" not in capfd.readouterr().out


def test_an_error_names_notebook_cell_and_copy_and_stops_this_lab_only(lab: Path) -> None:
    make_notebook(lab / "01-Setup.ipynb", "x = 1\nraise ValueError('the reason')")
    make_notebook(lab.parent / "Lab-Y" / "01-Setup.ipynb", "print('ran')")
    with pytest.raises(NotebookFailed) as caught:
        run_labs(["Lab-X", "Lab-Y"])
    for part in ("Lab-X/01-Setup.ipynb", "raise ValueError('the reason')", "ValueError: the reason", "_executed"):
        assert part in str(caught.value)
    assert not (DEFAULT.executed("Lab-X") / "02-Train.ipynb").exists()
    assert executed(lab.parent / "Lab-Y", "01-Setup") == ["ran\n"]


def test_a_failed_notebook_is_not_remembered_as_done(lab: Path) -> None:
    make_notebook(lab / "01-Setup.ipynb", "assert not __import__('os').path.exists('broken')")
    run_labs(["Lab-X"], stages=["01"])
    (lab / "broken").touch()
    with pytest.raises(NotebookFailed):
        run_labs(["Lab-X"], stages=["01"])
    assert json.loads((DEFAULT.executed("Lab-X") / "state.json").read_text()) == {}


def test_a_process_that_dies_is_reported(lab: Path) -> None:
    make_notebook(lab / "01-Setup.ipynb", "import os\nos._exit(9)")
    with pytest.raises(NotebookFailed, match="died in cell"):
        run_labs(["Lab-X"], stages=["01"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "huge"}, "no profile 'huge'"),
        ({"stages": ["05"]}, "no stage '05'"),
        ({"stages": ["03"]}, "03-Inference.ipynb: not there"),
        ({"run_name": "../out"}, "cannot be a folder's name"),
    ],
)
def test_unknown_names_are_refused_before_anything_runs(lab: Path, arguments: dict, message: str) -> None:
    with pytest.raises(PeftLabsError, match=message):
        run_labs(["Lab-X"], **arguments)
    assert not (lab.parent / "runs").exists()


def test_outputs_are_stored_with_a_fingerprint_and_without_traces_of_the_run(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEFT_LABS_PROFILE", "laptop")
    nobody = "import os\nassert PROFILE is None and 'PEFT_LABS_PROFILE' not in os.environ"
    make_notebook(lab / "01-Setup.ipynb", "print('a\\rb')\nprint('c')", nobody)
    (lab / "02-Train.ipynb").unlink()
    notebook = notebooks_of("Lab-X")[0]
    assert "no stored outputs" in str(check_outputs(notebook)[0])
    refresh_outputs(["Lab-X"])
    first = notebook.path.read_bytes()
    assert check_outputs(notebook) == []
    node = notebook.read()
    assert [cell.get("execution_count") for cell in node.cells[1:]] == [1, 2, 3]
    assert node.cells[2].outputs[0].text == "b\nc\n"
    assert "papermill" not in first.decode() and "start_time" not in first.decode()
    refresh_outputs(["Lab-X"])
    assert notebook.path.read_bytes() == first, "a second refresh changes nothing"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import os\nprint(os.getcwd())", "belongs to one machine"),
        ("print('/home/' + 'me/x.txt')", "belongs to one machine"),
        ("print('on 2026' + '-01-31')", "belongs to one machine or day"),
        ("import warnings\nwarnings.warn('old')", "a warning in the output"),
    ],
)
def test_outputs_of_one_machine_or_with_warnings_are_refused(lab: Path, source: str, message: str) -> None:
    make_notebook(lab / "01-Setup.ipynb", source)
    (lab / "02-Train.ipynb").unlink()
    before = (lab / "01-Setup.ipynb").read_bytes()
    with pytest.raises(PeftLabsError, match=message) as caught:
        refresh_outputs(["Lab-X"])
    assert "Lab-X/01-Setup.ipynb, cell 3" in str(caught.value)
    assert (lab / "01-Setup.ipynb").read_bytes() == before


def test_the_fingerprint_follows_the_code_and_not_the_prose(lab: Path) -> None:
    node = notebooks_of("Lab-X")[0].read()
    before = fingerprint(node)
    node.cells[0].source += " with more words"
    assert fingerprint(node) == before
    node.cells[2].source += " "
    assert fingerprint(node) != before


def test_the_labs_of_this_checkout_are_found_in_order() -> None:
    labs = labs_with_notebooks()
    assert labs == sorted(labs)
    for name in labs:
        assert [notebook.stage for notebook in notebooks_of(name)] == sorted(
            path.stem for path in collect.lab_folder(name).glob("*.ipynb")
        ), f"{name} holds notebooks that are no stage"


def test_the_summary_is_read_from_the_run_folder(checkout: Path) -> None:
    run = RunFolder("Lab-X", "tiny", "default")
    with pytest.raises(RunError, match="02-Train"):
        summary("Lab-X")
    scores = {"exact_match": 0.915, "format": 0.99, "n": 200}
    metrics = {
        "base": scores | {"exact_match": 0.05},
        "majority": 0.12,
        "lora": scores,
        "sweep": [],
        "trainable": 1234,
        "total": 100_000,
    }
    with run.write("02-Train") as out:
        out.save_json("metrics.json", metrics)
    with run.write("04-Merge_and_Deploy") as out:
        out.save_json("merge_error.json", {"max_logit_difference": {"fp32": 2.5e-6, "bf16": 0.03}, "note": "text"})
        rows = [{"form": "merged", "p50 [ms]": 12.345, "exact match": 0.9}, {"form": "served", "exact match": None}]
        out.save_json("deployment.json", {"rows": rows})
    text = summary("Lab-X")
    for part in (
        "91.5%",
        "5.0%",
        "12.0%",
        "1,234 of 100,000 parameters = 1.23 %",
        "2.5e-06",
        "merged",
        "p50 [ms]",
        "12.3",
    ):
        assert part in text, text


def test_the_summary_of_a_classifier_shows_accuracies(checkout: Path) -> None:
    run, scored = RunFolder("Lab-X", "tiny", "default"), {"accuracy": 0.868, "f1": 0.9}
    metrics = {"majority": 0.5, "base": {"accuracy": 0.735}, "bitfit": scored, "trainable": 1, "total": 100}
    with run.write("02-Train") as out:
        out.save_json("metrics.json", metrics)
    with run.write("04-Merge_and_Deploy") as out:
        out.save_json("merge_error.json", {"max_logit_difference": {}})
        out.save_json("deployment.json", {"rows": []})
    text = summary("Lab-X")
    for part in ("accuracy", "50.0%", "frozen base + trained head", "73.5%", "bitfit", "86.8%"):
        assert part in text, text
    assert "exact match" not in text
