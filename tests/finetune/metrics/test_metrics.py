"""The metrics of generated answers: numbers, programs and their judge, and how a run reports them."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
import random_models as world
from datasets import Dataset

from shared.errors import DataError, HardwareError
from shared.finetune import evaluate, train
from shared.finetune.config import Config, find_problems
from shared.finetune.evaluation import Generation, scoring
from shared.finetune.metrics import answers, code_execution, compute
from shared.finetune.metrics.code_execution import extract_code, passes, run_tests
from shared.finetune.metrics.numbers import final_number
from shared.finetune.training import training_run

# -- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("He has 3 + 4 = <<3+4=7>>7 cats.\n#### 7", 7),
        ("#### 1,200", 1200),
        ("#### $1,234,567.50.", Fraction("1234567.5")),
        ("#### 5\n\nQuestion: 8 cats? #### 9", 5),  # a model that goes on asking
        ("Ann has 5.\nThe answer is: 12", 12),
        ("The answer is 3. No, the answer is: -4.50", Fraction("-4.5")),
        ("The answer is: 7\nthat is 2 less than 9", 7),
        (r"The answer is: \frac{3}{4}", Fraction(3, 4)),
        ("The answer is: 6/8 of it", Fraction(3, 4)),
        ("so 2 and 3 make 5.", 5),
        ("12 - 5 = 7 and 10-3", 3),
        ("it fell to -3", -3),
        ("it fell to −3 degrees", -3),
        (".5", Fraction(1, 2)),
        ("2024.", 2024),
        ("1,2", 2),  # a list
        ("####", None),
        ("3 + 4 = 7\n####", None),
        ("7 cats. The answer is: unknown", None),
        ("many cats", None),
        ("", None),
        ("9" * 6000, None),
    ],
)
def test_the_final_number(text, number):
    assert final_number(text) == number


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("The answer is: 1,200.00.", "#### 1200", True),
        ("that makes 7", "#### 7", True),
        ("#### 7", "7.0", True),
        ("#### 71", "#### 7", False),
        ("#### -7", "#### 7", False),
        ("7 of them\n####", "#### 7", False),
        ("none", "none", False),
    ],
)
def test_numbers_are_compared_as_numbers(answer, reference, right):
    assert compute("final_number", [answer], [reference]) == {"final_number": float(right), "right": [right]}


# -- the judge --------------------------------------------------------------------------------------------------------

GOOD, TESTS = "def add(a, b):\n    return a + b", "assert add(1, 2) == 3\nassert add(-1, 1) == 0"


def block(code: str) -> str:
    return f"Here it is:\n```python\n{code}\n```\nIt adds."


def test_the_last_block_of_an_answer_is_its_program():
    assert extract_code("```python\na = 1\n```\nand\n```python\na = 2\n```") == "a = 2\n"
    assert extract_code('```python\na = "```"\n```') == 'a = "```"\n'
    assert extract_code("```python \r\na = 1\n```").strip() == "a = 1"
    assert [extract_code(text) for text in ("```\na = 1\n```", "```python\na = 1", "a = 1")] == [""] * 3


def test_programs_pass_only_by_their_tests():
    texts = [block(GOOD), block(GOOD.replace("+", "-")), block("def add(a, b)\n    return"), GOOD, block(" ")]
    assert run_tests(texts, [TESTS] * 5) == [True, False, False, False, False]
    assert not passes(block(GOOD), "assert add(1, 2) == 4")
    assert passes(block("from __future__ import annotations\nimport math, random, collections, re\n" + GOOD), TESTS)
    assert compute("pass_at_1", texts[:2], [TESTS] * 2) == {"pass_at_1": 0.5, "right": [True, False]}


@pytest.mark.parametrize(
    "code",
    [
        "print('passed')",
        "print('passed')\nraise SystemExit(0)",
        "import os\nprint('passed', flush=True)\nos._exit(0)",
        "import atexit\natexit.register(print, 'passed')\nraise SystemExit",
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a: None",
        "def add(a, b): raise SystemExit(0)",
        "import sys\nsys.exit = lambda *a: None\nsys.stdout.write('passed')\n'''",
    ],
)
def test_a_verdict_is_not_printed_but_earned(code):
    assert not passes(block(code), TESTS)


def test_what_a_program_may_not_do(tmp_path):
    """Each is tried, and the program goes on with a right result only if it was refused."""
    (tmp_path / "kept").write_text("kept")
    tries = [
        f"open({str(tmp_path / 'new')!r}, 'w')",
        f"os.open({str(tmp_path / 'new')!r}, os.O_CREAT | os.O_WRONLY)",
        f"os.remove({str(tmp_path / 'kept')!r})",
        f"shutil.rmtree({str(tmp_path)!r})",
        "os.fork()",
        "os.system('true')",
        "subprocess.run(['true'])",
        "os.kill(os.getpid(), 0)",
        "threading.Thread(target=print).start()",
        "socket.socket()",
        "__import__('ctypes').CDLL(None)",
    ]
    code = "import os, shutil, socket, subprocess, threading\nleft = []\n"
    for one in tries:
        code += f"try:\n    {one}\n    left.append({one!r})\nexcept PermissionError:\n    pass\n"
    # the names of what was not refused come back as one verdict each
    assert passes(block(code), "assert left == []"), [
        one for one in tries if not passes(block(code), f"assert {one!r} not in left")
    ]
    assert (tmp_path / "kept").read_text() == "kept" and len(list(tmp_path.iterdir())) == 1


def test_a_program_sees_neither_the_environment_nor_this_package(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert passes(block("import os\nseen, here = dict(os.environ), os.listdir()"), "assert not here, here")
    assert passes(block("import os"), "assert 'HF_TOKEN' not in os.environ")
    assert not passes(block("import shared"), "pass") and not passes(block("import torch"), "pass")


def test_time_is_limited(monkeypatch):
    monkeypatch.setattr(code_execution, "PATIENCE", 3)
    hangs = [
        "while True: pass",
        "import time\ntime.sleep(60)",
        "while True: print('x' * 10000)",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    ]
    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda code: passes(block(code), "pass", seconds=1), hangs))
    assert found == [False] * 4 and time.monotonic() - start < 20


def test_a_flood_into_the_verdicts_own_channel_is_not_read_to_its_end():
    """The judge has heard enough long before the program falls silent."""
    code = "import os, time\nfor n in range(3, 9):\n    try: os.write(n, b'x' * 9999)\n    except OSError: pass\n"
    start = time.monotonic()
    assert not passes(block(code + "time.sleep(60)"), "pass", seconds=4)
    assert time.monotonic() - start < 15  # 20 s on the clock are allowed


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own limits")
def test_limits_of_the_operating_system():
    assert not passes(block("x = bytearray(300 << 20)"), "pass")
    assert passes(block("x = bytearray(300 << 20)"), "pass", megabytes=600)
    names = (
        "import resource as r\nfound = {n: r.getrlimit(getattr(r, 'RLIMIT_' + n)) for n in ('NPROC', 'FSIZE', 'CPU')}"
    )
    assert passes(block(names), "assert found == {'NPROC': (0, 0), 'FSIZE': (0, 0), 'CPU': (7, 7)}", seconds=7)


def test_a_machine_without_limits_still_judges(monkeypatch, tmp_path):
    """macOS refuses some limits and Windows has no resource module: neither may make every program fail."""
    source = code_execution.WORKER.read_text()
    assert "import resource" in source
    for number, problem in enumerate(("raise ImportError", "def setrlimit(*a):\n    raise ValueError\nRLIMIT_CPU = 0")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "other.py").write_text(problem)
        lines = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        (folder / "worker.py").write_text(lines + source.replace("import resource", "import other as resource"))
        monkeypatch.setattr(code_execution, "WORKER", folder / "worker.py")
        assert passes(block(GOOD), TESTS) and not passes(block(GOOD), "assert add(1, 1) == 3")


def test_a_judge_that_can_not_run_says_so_instead_of_failing_all(monkeypatch, tmp_path):
    (tmp_path / "worker.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(code_execution, "WORKER", tmp_path / "worker.py")
    code_execution.check_code_execution.cache_clear()
    with pytest.raises(HardwareError, match="can't be run on this machine"):
        run_tests([block(GOOD)], [TESTS])


# -- in a run ---------------------------------------------------------------------------------------------------------

REPLIES = {  # metric -> (what stands in the data, replies that are right, not right)
    "exact_match": ("w1 w2", "w1 w2", "w1"),
    "final_number": ("w1\n#### 1,000", "The answer is: 1000.0", "w1\n#### 1"),
    "pass_at_1": (block(GOOD), block("add = lambda *n: sum(n)"), block("add = max")),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return world.make_model(tmp_path_factory.mktemp("metrics"))


@pytest.fixture
def configured(model, tmp_path):
    def make(metric, **evaluation) -> Config:
        row = {"answer": REPLIES[metric][0], "tests": TESTS.split("\n"), "said": "yes"}
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps({"question": f"w{n}", **row}) + "\n" for n in range(30)))
        values = world.config_dict(model, file, max_steps=1)
        values["evaluation"] |= {"rows": 3, "metric": metric, **evaluation}
        return Config.model_validate(values)

    return make


def replying(monkeypatch, metric):
    """The first answer is the reference, the second right in its own words, the third wrong."""
    found = [Generation(text, True) for text in REPLIES[metric]]
    monkeypatch.setattr(scoring, "generate_answers", lambda *args, **kwargs: found)


@pytest.mark.parametrize("metric", answers.NAMES)
def test_a_run_is_scored_by_its_metric(monkeypatch, configured, tmp_path, metric):
    replying(monkeypatch, metric)
    result = train.run(configured(metric), tmp_path / "c", 0)
    right = [True, True, False]
    assert [one["right"] for one in result.notes] == right
    assert result.notes[0]["reference"] == REPLIES[metric][0]
    assert result.metrics["main_metric"] == metric and result.metrics[metric] == pytest.approx(2 / 3)
    assert result.metrics["exact_match"] == pytest.approx(2 / 3 if metric == "exact_match" else 1 / 3)
    assert result.metrics["format"] == 1.0 and result.metrics["n"] == 3
    shown = evaluate.scores_text(result.metrics)
    assert shown.startswith(metric.replace("_", " ") + " 66.7%") and "format 100.0%" in shown


def test_rows_that_can_not_be_judged_are_refused_before_the_training(monkeypatch, configured, tmp_path):
    def train_too_early(*args, **kwargs):
        raise AssertionError("trained first")

    monkeypatch.setattr(training_run, "_trainer", train_too_early)
    with pytest.raises(DataError, match="'test'.*the columns are question, answer, tests, said") as caught:
        train.run(configured("pass_at_1", tests_field="test"), tmp_path, 0)
    assert "did you mean tests" in caught.value.fix
    with pytest.raises(DataError, match="has no final number: 'yes'"):
        train.run(configured("final_number").changed(dataset={"prompt_template": "{question} {said}"}), tmp_path, 0)


def test_rows_without_a_number_or_without_tests_are_named(configured):
    rows = Dataset.from_list([{"tests": "assert True"}, {"tests": ""}])
    with pytest.raises(DataError, match="row 2: tests holds no tests"):
        answers.references_for(rows, ["", ""], configured("pass_at_1"))
    with pytest.raises(DataError, match="row 2: .*has no final number: 'many'"):
        answers.references_for(rows, ["#### 7", "many"], configured("final_number"))


@pytest.mark.parametrize(
    ("task", "evaluation", "key", "fix"),
    [
        ("CAUSAL_LM", {"metric": "finalnumber"}, "metric", "did you mean final_number?"),
        ("CAUSAL_LM", {"metric": "pass@1"}, "metric", "did you mean pass_at_1?"),
        ("CAUSAL_LM", {"tests_field": "test"}, "tests_field", "remove the key"),
        ("SEQ_2_SEQ_LM", {"metric": "final_number"}, "metric", "remove the key"),
        ("SEQ_CLS", {"metric": "exact_match"}, "metric", "remove the key"),
        ("CAUSAL_LM", {"metric": "pass_at_1", "tests_field": "test"}, None, None),
    ],
)
def test_problems_of_the_metric(tmp_path, task, evaluation, key, fix):
    values = world.task_config(tmp_path / "m", tmp_path / "rows.jsonl", task, {"method": "lora"})
    values["evaluation"] |= evaluation
    problems = {problem.key: problem for problem in find_problems(world.write_config(tmp_path / "c.yaml", values))}
    if key is None:
        assert not problems
    else:
        assert list(problems) == [f"evaluation.{key}"] and fix in problems[f"evaluation.{key}"].fix
