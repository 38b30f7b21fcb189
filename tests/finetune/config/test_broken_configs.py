"""Broken configurations: every problem of each file with its key, line and fix, and not one problem more.

What is expected is written in the files, as a comment in the line of the problem: ``# problem: key: part of the
message | part of the fix``; several in one line follow ``# problems:``, with ``&&`` between them.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from shared.finetune.schema.problems import Problem
from shared.finetune.validate_config import main, validate

FOLDER = Path(__file__).parent / "broken_configs"
FILES = sorted(FOLDER.glob("*.yaml"))
NAMES = [file.name for file in FILES]


def expected(file: Path) -> list[tuple[int, str, str, str]]:
    """(line, key, message, fix) of each problem that a file says it has."""
    found = []
    for number, line in enumerate(file.read_text(encoding="utf8").splitlines(), 1):
        _, mark, text = line.partition("# problems: ")
        texts = text.split(" && ") if mark else [line.partition("# problem: ")[2]]
        for one in filter(None, texts):
            key, message, fix = re.fullmatch(r"(\(.+?\)|\S+): (.+) \| (.+)", one).groups()
            found.append((number, key, message, fix.strip()))
    return found


@pytest.fixture
def old_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU from before bfloat16."""
    import torch

    monkeypatch.delenv("PEFT_LABS_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)


def check(file: Path, problems: list[Problem]) -> None:
    left, shown = list(problems), "\n".join(map(str, problems))
    for line, key, message, fix in expected(file):
        fits = [
            one for one in left
            if (one.key, one.line) == (key, line) and message in one.message and fix in one.fix
        ]  # fmt: skip
        assert fits, f"{file.name}:{line}: no problem of {key}: {message} | {fix}; there are\n{shown}"
        left.remove(fits[0])
    assert not left, f"{file.name}: {len(left)} that the file does not expect:\n" + "\n".join(map(str, left))


def test_there_are_enough_of_them_and_several_have_many_problems() -> None:
    numbers = [len(expected(file)) for file in FILES]
    assert len(FILES) >= 40 and min(numbers) >= 1, "each file says what is wrong with it"
    assert sum(number >= 3 for number in numbers) >= 8


@pytest.mark.parametrize("name", NAMES)
def test_each_problem_has_its_key_its_line_and_its_fix(name: str, request: pytest.FixtureRequest) -> None:
    file = FOLDER / name
    if file.read_text(encoding="utf8").startswith("# device: a GPU without bfloat16"):
        request.getfixturevalue("old_gpu")
    config, problems = validate(file)
    assert config is None
    check(file, problems)
    assert all(problem.file == str(file) and problem.fix for problem in problems)
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)
    assert not any("hf_secret" in str(problem) for problem in problems)


def test_the_command_reports_several_files_and_ends_with_1(capsys: pytest.CaptureFixture, root: Path) -> None:
    good = root / "shared/finetune/configs/template.yaml"
    chosen = [FOLDER / "01-misspelt-keys-in-five-sections.yaml", good, FOLDER / "14-a-tab.yaml"]
    assert main([*map(str, chosen)]) == 1
    out = capsys.readouterr().out
    assert "3 configurations: 1 valid, 2 with problems" in out and "template.yaml: valid" in out
    for file in (chosen[0], chosen[2]):
        for line, key, _, fix in expected(file):
            assert any(f"{file}:{line}: {key}" in one and fix in one for one in out.splitlines()), (key, out)


def test_the_command_ends_with_0_for_good_files_and_with_2_for_wrong_calls(
    capsys: pytest.CaptureFixture, root: Path
) -> None:
    good = str(root / "shared/finetune/configs/template.yaml")
    assert main([good]) == 0 and main([good, "peft.lora_r=4"]) == 0 and main(["--config", good]) == 0
    assert main([good, "peft.lora_r=0"]) == 1
    assert "(command line): peft.lora_r = 0" in capsys.readouterr().out
    assert main([]) == 2 and "name a file, or --all" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["--everything", good])
    assert caught.value.code == 2


def test_a_file_that_is_not_text_and_one_that_is_not_there_are_problems(tmp_path: Path) -> None:
    binary = tmp_path / "weights.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    for file, word in ((binary, "can't be read"), (tmp_path / "none.yaml", "there is no such file")):
        _, (problem,) = validate(file)
        assert word in problem.message and problem.fix
    shutil.copy(FILES[0], tmp_path / "other.yaml")
    _, (problem,) = validate(tmp_path / "none.yaml")
    assert "other.yaml" in problem.fix, "the fix names what there is"
