"""Tests that belong together stay in one process, and in order, when `make test` shares them out."""

import os
import subprocess
import sys

LAB = "Lab-01-LoRA"
STAGES = ("01-Setup.ipynb", "02-Train.ipynb", "03-Inference.ipynb", "04-Merge_and_Deploy.ipynb")
PLUGIN = """
import os

def pytest_runtest_protocol(item):
    with open(os.environ["SHARED_OUT"], "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + " " + item.nodeid.split("::")[0] + chr(10))
    return True  # nothing is run: only the order is asked for
"""


def test_a_lab_stays_in_one_process_and_in_order(root, tmp_path):
    (tmp_path / "only_order.py").write_text(PLUGIN, encoding="utf8")
    results, rest = (
        "tests/labs/lab01/test_results.py",
        ["tests/finetune/tasks/test_regression.py", "tests/test_tables.py"],
    )
    names = [*rest, results, *(f"{LAB}/{stage}" for stage in STAGES)]
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path), "SHARED_OUT": str(tmp_path / "order"), "PEFT_LABS_RUNS": str(tmp_path)
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-p", "only_order", "-n", "2", "--no-loadscope-reorder", "--nbmake"]
    done = subprocess.run([*command, *names], cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert (tmp_path / "order").is_file(), done.stdout + done.stderr
    lines = [line.split() for line in (tmp_path / "order").read_text(encoding="utf8").splitlines()]
    lab = [(worker, file) for worker, file in lines if file.startswith("Lab-") or file == results]
    assert len({worker for worker, _ in lab}) == 1
    assert list(dict.fromkeys(file for _, file in lab)) == [*(f"{LAB}/{stage}" for stage in STAGES), results]
    for file in rest:
        assert len({worker for worker, one in lines if one == file}) == 1
