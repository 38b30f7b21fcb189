"""The run folder: whole or not there, whatever happens, and errors that name the notebook to run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from shared import run_files
from shared.errors import RunError
from shared.runs import MANIFEST, RunFolder, fingerprint

LAB = "Lab-01-LoRA"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(LAB, "tiny", root=tmp_path)


def write_setup(run: RunFolder, value: int = 1, **files: str) -> None:
    with run.write("01-Setup", seeds=[0, 1]) as out:
        out.save_json("baseline.json", {"exact_match": value})
        for name, text in files.items():
            out.file(f"more/{name}.txt").write_text(text)


def test_roundtrip_and_manifest(run):
    write_setup(run, notes="hello")
    stage = run.read("01-Setup")
    assert stage.json("baseline.json") == {"exact_match": 1}
    assert stage.file("more/notes.txt").read_text() == "hello"
    manifest = stage.manifest
    assert (manifest["lab"], manifest["stage"]) == (LAB, "01-Setup")
    assert (manifest["profile"], manifest["seeds"]) == ("tiny", [0, 1])
    assert set(manifest["files"]) == {"baseline.json", "more/notes.txt"}
    assert manifest["packages"]["torch"]
    assert stage.size == sum(p.stat().st_size for p in stage.path.rglob("*") if p.is_file() and p.name != MANIFEST)
    assert str(run.root) not in repr(stage) + repr(run)


def test_writing_again_replaces_all_files(run):
    write_setup(run, 1, old="x")
    write_setup(run, 2)
    stage = run.read("01-Setup")
    assert stage.json("baseline.json") == {"exact_match": 2}
    assert sorted(p.name for p in stage.path.iterdir()) == ["baseline.json", MANIFEST]


def test_an_exception_leaves_the_previous_state(run):
    write_setup(run, 1)
    with pytest.raises(ZeroDivisionError), run.write("01-Setup") as out:
        out.save_json("baseline.json", {"exact_match": 2})
        raise ZeroDivisionError
    assert run.read("01-Setup").json("baseline.json") == {"exact_match": 1}
    assert not list(run.path.glob(".partial*"))


def test_needs_are_verified_and_recorded(run):
    with pytest.raises(RunError, match=r"01-Setup\.ipynb first"), run.write("02-Train", needs=["01-Setup"]):
        pytest.fail("the block must not run")
    write_setup(run, 1)
    with run.write("02-Train", needs=["01-Setup"]) as out:
        out.save_json("metrics.json", {})
    train = run.read("02-Train")
    assert train.manifest["needs"] == {"01-Setup": run_files.sha256(run.path / "01-Setup" / MANIFEST)}
    assert run.stale(train) == []
    write_setup(run, 2)
    assert run.stale(train) == ["01-Setup"]


# --- what can be wrong -----------------------------------------------------------------------------------------------


def test_missing_names_the_notebook(run):
    with pytest.raises(RunError, match=r"run Lab-01-LoRA/02-Train\.ipynb first \(profile tiny, RUN_NAME 'default'\)"):
        run.read("02-Train")


def test_missing_names_what_other_profiles_have(run):
    write_setup(RunFolder(LAB, "laptop", "mine", root=run.root))
    with pytest.raises(RunError, match="there is one for profile laptop, RUN_NAME 'mine'"):
        run.read("01-Setup")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: (p / "baseline.json").write_text('{"exact_match": 9}\n'), r"baseline\.json is damaged"),
        (lambda p: flip(p / "baseline.json"), r"baseline\.json is damaged: its SHA-256"),
        (lambda p: (p / "baseline.json").unlink(), r"baseline\.json is missing"),
        (lambda p: (p / MANIFEST).write_text("{"), r"manifest\.json is damaged"),
        (lambda p: (p / MANIFEST).write_text("[]"), r"manifest\.json is damaged"),
        (lambda p: edit(p, schema_version=99), r"newer labs \(schema 99"),
        (lambda p: edit(p, lab="Lab-02-AdapterLayers"), "belongs to lab 'Lab-02-AdapterLayers'"),
        (lambda p: edit(p, profile="laptop"), "belongs to profile 'laptop', not 'tiny'"),
        (lambda p: edit(p, stage="02-Train"), "belongs to stage '02-Train'"),
        (lambda p: edit(p, files=None), "lists no files"),
        (lambda p: (p / "adapter_model.bin").write_bytes(b"x"), "was added later; a pickle"),
    ],
)
def test_damage_is_named_and_writing_again_recovers(run, spoil, message):
    write_setup(run)
    spoil(run.path / "01-Setup")
    with pytest.raises(RunError, match=message) as caught:
        run.read("01-Setup")
    assert "Lab-01-LoRA/01-Setup.ipynb" in str(caught.value)
    assert str(run.root) not in str(caught.value)
    write_setup(run)
    assert run.read("01-Setup")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def edit(folder: Path, **changes) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_copied_from_another_profile_is_refused(run):
    write_setup(run)
    laptop = RunFolder(LAB, "laptop", root=run.root)
    shutil.copytree(run.path, laptop.path)
    with pytest.raises(RunError, match="belongs to profile 'tiny', not 'laptop'"):
        laptop.read("01-Setup")


def test_names_cannot_leave_the_folder(run, tmp_path):
    for name in ("../x", "a/b", "", ".hidden", "x" * 99):
        with pytest.raises(RunError, match="cannot be a folder's name"):
            RunFolder(LAB, "tiny", name, root=tmp_path)
    for name in ("../x", "/x", "manifest.json", "a\\b", ""):
        with pytest.raises(RunError, match="not a valid file name"), run.write("01-Setup") as out:
            out.file(name)
    with pytest.raises(RunError, match="no stage '05-Extra'"):
        run.read("05-Extra")
    write_setup(run)
    with pytest.raises(RunError, match=r"has no other\.json; it holds: baseline\.json"):
        run.read("01-Setup").json("other.json")


def test_json_takes_tensors_and_refuses_nan(run):
    import numpy as np
    import torch

    with run.write("01-Setup") as out:
        out.save_json("a.json", {"x": torch.ones(2), "y": np.float32(0.5), "p": Path("a/b")})
    assert run.read("01-Setup").json("a.json") == {"x": [1.0, 1.0], "y": 0.5, "p": "a/b"}
    with pytest.raises(RunError, match=r"a\.json: it contains NaN"), run.write("01-Setup") as out:
        out.save_json("a.json", {"loss": float("nan")})
    with pytest.raises(RunError, match="set cannot be written"), run.write("01-Setup") as out:
        out.save_json("a.json", {"x": {1}})


# --- weights ---------------------------------------------------------------------------------------------------------


def save_adapter(folder: Path, **tensors) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    save_file(tensors, folder / "adapter_model.safetensors")


def adapter(b_value: float = 0.1) -> dict:
    import torch

    return {"m.lora_A.weight": torch.ones(2, 3), "m.lora_B.weight": torch.full((3, 2), b_value)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: save_adapter(p), "contains no weights"),
        (lambda p: save_adapter(p, **adapter(0.0)), "every lora_B is zero"),
        (lambda p: save_adapter(p, **adapter(float("nan"))), "holds NaN or infinity"),
        (lambda p: (p / "adapter_config.json").write_text("{}"), r"without adapter_model\.safetensors"),
        (lambda p: (p / "pytorch_model.bin").write_bytes(b"x"), "only safetensors"),
        (lambda p: (p / "training_args.bin").write_bytes(b"x"), r"save_pretrained\(folder\) instead of trainer"),
        (lambda p: (p / "model.safetensors").write_bytes(b"cut"), "cut short"),
    ],
)
def test_unsafe_or_empty_weights_are_refused(run, make, message):
    with pytest.raises(RunError, match=message), run.write("02-Train") as out:
        folder = out.file("adapter")
        folder.mkdir()
        make(folder)
    with pytest.raises(RunError, match="is not there"):
        run.read("02-Train")


def test_a_valid_adapter_passes_and_a_truncated_one_does_not(run):
    with run.write("02-Train") as out:
        save_adapter(out.file("adapter"), **adapter())
    weights = run.read("02-Train").file("adapter") / "adapter_model.safetensors"
    assert set(run_files.safetensors_header(weights)) == set(adapter())
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(RunError, match=r"adapter_model\.safetensors is damaged: \d+ bytes instead of \d+"):
        run.read("02-Train")
    with pytest.raises(ValueError, match="header promises"):
        run_files.safetensors_header(weights)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def checkpoint(folder: Path, step: int, state: bool = True, cut: int = 0, optimizer: bytes | None = None) -> None:
    place = folder / f"checkpoint-{step}"
    save_adapter(place, **adapter())
    weights = place / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[: -cut or None])
    if optimizer is not None:
        (place / "optimizer.pt").write_bytes(optimizer)
    if state:
        (place / "trainer_state.json").write_text(json.dumps({"global_step": step}))


def test_last_checkpoint_skips_half_written_ones(run):
    folder = run.checkpoints("02-Train")
    assert run.last_checkpoint("02-Train") is None
    checkpoint(folder, 9)
    checkpoint(folder, 10)
    checkpoint(folder, 20, state=False)
    checkpoint(folder, 30, cut=5)
    checkpoint(folder, 40, optimizer=b"half a zip")
    (folder / "checkpoint-50").mkdir()
    (folder / "checkpoint-50" / "trainer_state.json").write_text('{"global_step": 50}')
    assert run.last_checkpoint("02-Train").name == "checkpoint-10"
    run.clear_checkpoints("02-Train")
    assert run.last_checkpoint("02-Train") is None


def test_keys_separate_training_runs(run):
    checkpoint(run.checkpoints("02-Train", "lora-seed0"), 10)
    assert run.last_checkpoint("02-Train", "lora-seed1") is None
    assert run.last_checkpoint("02-Train", "lora-seed0").name == "checkpoint-10"
    with pytest.raises(RunError, match="cannot be a folder's name"):
        run.checkpoints("02-Train", "../x")
    assert fingerprint({"r": 4}) != fingerprint({"r": 8})


def test_killed_training_names_its_checkpoint_and_outlives_a_write(run):
    checkpoint(run.checkpoints("02-Train", "lora-seed0"), 60)
    with pytest.raises(RunError, match="02-Train.ipynb again: it resumes from checkpoint-60"):
        run.read("02-Train")
    with pytest.raises(ZeroDivisionError), run.write("02-Train"):
        raise ZeroDivisionError
    assert run.last_checkpoint("02-Train", "lora-seed0")


def test_a_real_trainer_checkpoint_is_complete(run):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    model = LlamaForCausalLM(LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                         num_attention_heads=1))  # fmt: skip
    rows = [{"input_ids": torch.tensor([1, 2, 3]), "labels": torch.tensor([1, 2, 3])}] * 4
    folder = run.checkpoints("02-Train")
    arguments = TrainingArguments(folder, max_steps=2, save_steps=1, report_to=[], disable_tqdm=True, use_cpu=True)
    Trainer(model, arguments, train_dataset=rows).train()
    last = run.last_checkpoint("02-Train")
    assert last.name == "checkpoint-2"
    (last / "trainer_state.json").unlink()  # as a kill during saving leaves it: the Trainer writes this file last
    assert run.last_checkpoint("02-Train").name == "checkpoint-1"
