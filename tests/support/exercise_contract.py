"""What holds for the checks of every notebook's exercises; a test file names the exercises and their wrong answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import pytest
from notebook_code import solutions


def nothing(*arguments): ...


class ExerciseContract:
    """The base of a file's test class.

    Attributes:
        LAB: The lab's folder name.
        STAGE: The notebook's name without its ending.
        CHECKS: The module with the checks.
        SOLVED: Check -> name of the notebook's own solution.
        WRONG: Check -> plausible wrong answers, each with a pattern that its diagnosis holds.
        STUBS: What stands in the stub of an exercise that is not answered by a function.
    """

    LAB: str
    STAGE: str
    CHECKS: ModuleType
    SOLVED: Mapping[str, str]
    WRONG: Mapping[str, Sequence[tuple[Any, str]]]
    STUBS: Mapping[str, Any] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each exercise, or for each wrong answer."""
        if "diagnosis" in metafunc.fixturenames:
            cases = [(name, *one) for name, wrong in self.WRONG.items() for one in wrong]
            metafunc.parametrize(("name", "answer", "diagnosis"), cases)
        elif "name" in metafunc.fixturenames:
            metafunc.parametrize("name", list(self.SOLVED))

    @pytest.fixture(scope="class")
    @classmethod
    def solved(cls) -> dict[str, Any]:
        return solutions(cls.LAB, cls.STAGE)

    def judged(self, name: str, answer: Any) -> Any:
        return getattr(self.CHECKS, name)(answer)

    def test_the_notebooks_solution_passes(self, solved, name):
        result = self.judged(name, solved[self.SOLVED[name]])
        assert result.passed and result.diagnosis, result

    def test_a_wrong_answer_fails_with_its_diagnosis(self, name, answer, diagnosis):
        result = self.judged(name, answer)
        assert result.answered and not result.passed, f"accepted: {result!r}"
        assert re.search(diagnosis, result.diagnosis), result.diagnosis

    def test_a_stub_is_not_answered_and_does_not_raise(self, name):
        result = self.judged(name, self.STUBS.get(name, nothing))
        assert not result.answered and not result.passed

    def test_each_exercise_has_at_least_three_wrong_answers(self):
        assert set(self.WRONG) == set(self.SOLVED) and all(len(wrong) >= 3 for wrong in self.WRONG.values())


def named(*exercises: str) -> dict[str, str]:
    """:attr:`ExerciseContract.SOLVED` where each solution has its exercise's name."""
    return {name: f"{name}_solution" for name in exercises}
