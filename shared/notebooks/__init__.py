"""Run the lab notebooks headless, store their outputs, and check their form.

``collect`` finds them, ``runner`` executes them in order (``execution`` one, ``resume`` skips what is done),
``outputs`` stores their outputs, ``hygiene`` checks their form, ``summary`` makes the closing table of a run. Heavy
libraries are imported only when they are needed.
"""

from shared.notebooks.collect import Notebook, fingerprint, labs_with_notebooks, notebooks_of, shown
from shared.notebooks.hygiene import Problem, problems_of, repeated_blocks
from shared.notebooks.outputs import check_outputs, problems_of_labs, refresh_outputs
from shared.notebooks.runner import NotebookFailed, run_labs
from shared.notebooks.summary import summary

__all__ = [
    "Problem",
    "Notebook",
    "NotebookFailed",
    "check_outputs",
    "problems_of",
    "problems_of_labs",
    "fingerprint",
    "labs_with_notebooks",
    "notebooks_of",
    "refresh_outputs",
    "repeated_blocks",
    "run_labs",
    "shown",
    "summary",
]
