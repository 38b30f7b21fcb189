"""Errors while loading a model, with the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.finetune.models.offline import offline_models
from shared.finetune.schema.sections import ModelSection

if TYPE_CHECKING:
    from shared.finetune.config import Config


class hub_errors:
    """Turns the errors of loading a model into a ModelError with a fix.

    Args:
        section: ``config.model``.
        config: The whole configuration, so that the fix fits its task and method.
    """

    def __init__(self, section: ModelSection, config: Config | None = None):
        self.config = config
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
                fix=f"go online once, or {offline_models(self.config)}",
            ) from error
        if "SafetensorError" in names or "no file named model.safetensors" in text:
            raise ModelError(
                f"the weights of {self.name} are damaged or not safetensors: {error}",
                fix="fetch or save the model again",
            ) from error
