"""What other modules may know of the lab that this process opened last, without importing the framework."""

from __future__ import annotations

#: The lab's fine-tuning method, which figures draw in blue; None before :func:`shared.labs.open_lab`.
method: str | None = None
