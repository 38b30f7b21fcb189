"""Errors while loading a model, with the fix."""

from __future__ import annotations

from typing import Any

from shared.errors import ModelError
from shared.finetune.schema.sections import ModelSection


class hub_errors:
    """Turns the errors of loading a model into a ModelError with a fix."""

    def __init__(self, section: ModelSection):
        self.name = section.name_or_path
        self.login = section.use_auth_token

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, (ModelError, KeyboardInterrupt)):
            return
        chain = [error]
        while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
            chain.append(inner)
        names = {type(one).__name__ for one in chain}
        text = " ".join(str(one) for one in chain)
        if "GatedRepoError" in names or "gated repo" in text:
            login = "" if self.login else ", and set model.use_auth_token: true"
            raise ModelError(
                f"{self.name} is gated: its owner has to grant you access",
                fix=f"ask for access on https://huggingface.co/{self.name}, run `hf auth login`{login}; or name an "
                "ungated model in model.name_or_path",
            ) from error
        if "RepositoryNotFoundError" in names or "is not a valid model identifier" in text:
            raise ModelError(
                f"there is no model {self.name} on the Hub (or it is private)",
                fix="check model.name_or_path; for a private one run `hf auth login`",
            ) from error
        if (
            names
            & {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectionError", "ConnectTimeout", "ReadTimeout"}
            or "couldn't connect" in text
            or "offline mode" in text.lower()
        ):
            raise ModelError(
                f"{self.name} is not on this machine and the Hub can't be reached",
                fix="go online once, or use tiny:llama or fetched:smollm2-135m-instruct (peft-labs fetch-models)",
            ) from error
        if "SafetensorError" in names or "no file named model.safetensors" in text:
            raise ModelError(
                f"the weights of {self.name} are damaged or not safetensors: {error}",
                fix="fetch or save the model again",
            ) from error
