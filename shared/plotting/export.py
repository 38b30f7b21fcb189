"""Keep the alternative texts of figures in HTML made by nbconvert.

:func:`shared.plotting.show` stores the text in the output's metadata. nbconvert's default template (``lab``) does not
read it there (its ``classic`` template does), so this preprocessor makes the ``<img alt=...>`` itself::

    jupyter nbconvert --to html --HTMLExporter.preprocessors=shared.plotting.export.AltText 02-Train.ipynb

Notebooks themselves keep plain PNGs: JupyterLab shows no picture that comes as HTML until a notebook is trusted.
"""

from __future__ import annotations

import html
from typing import Any

from nbconvert.preprocessors import Preprocessor


class AltText(Preprocessor):
    """Turn PNG outputs that have an ``alt`` in their metadata into images with that attribute."""

    # Switched on by being named: nbconvert leaves preprocessors out that are not enabled.
    def __init__(self, **settings: Any):
        super().__init__(**{"enabled": True, **settings})

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        """Rewrite the outputs of one cell, in nbconvert's copy of the notebook."""
        for output in cell.get("outputs", []):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt")
            image = output.get("data", {}).get("image/png")
            if alt and image:
                source = "data:image/png;base64," + "".join(image.split())
                output["data"]["text/html"] = f'<img src="{source}" alt="{html.escape(alt)}">'
        return cell, resources
