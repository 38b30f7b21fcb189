"""P-tuning (Liu et al., 2021, arXiv:2103.10385): virtual tokens from a small encoder, which is dropped afterwards.

As in peft, the tokens come before the input and the base is frozen. The paper interleaves them with the input and, in
its SuperGLUE runs, also trains the base.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection
from shared.finetune.methods.prompt_tuning import NO_MERGE, POOL, refuse_virtual_tokens

if TYPE_CHECKING:
    from peft import PromptEncoderConfig


class PTuningSection(PeftSection):
    """``peft:`` for P-tuning."""

    method: Literal["p-tuning"]
    num_virtual_tokens: int = Field(20, ge=1, description="Length p of the prompt [tokens]; p·d numbers are stored.")
    encoder: Literal["mlp", "lstm"] = Field(
        "mlp",
        description="The encoder during training: three linear layers, or a bidirectional LSTM and two linear layers.",
    )
    encoder_hidden_size: int | None = Field(
        None, ge=1, description="Hidden size of the encoder; null: the model's hidden size."
    )
    encoder_num_layers: int = Field(2, ge=1, description="Depth of the LSTM [layers]; the MLP always has three.")
    encoder_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout between the LSTM's layers [0–1].")
    pool: Literal["cls", "first"] = Field("cls", description=POOL)


def p_tuning_config(section: PTuningSection, model: Any, task_type: str) -> PromptEncoderConfig:
    """peft's configuration of this section.

    Args:
        section: ``config.peft``.
        model: The base.
        task_type: ``config.task_type``.
    """
    from peft import PromptEncoderConfig

    from shared.finetune.methods.support.peft_wrapper import saved_modules

    lstm = {"encoder_num_layers": section.encoder_num_layers, "encoder_dropout": section.encoder_dropout}
    return PromptEncoderConfig(
        task_type=task_type,
        num_virtual_tokens=section.num_virtual_tokens,
        num_transformer_submodules=1,  # the encoder's input only; peft would store p unused rows for T5
        encoder_reparameterization_type=section.encoder.upper(),
        encoder_hidden_size=section.encoder_hidden_size,
        modules_to_save=saved_modules(model),
        **(lstm if section.encoder == "lstm" else {}),
    )


METHOD = Method(
    "p-tuning",
    PTuningSection,
    learning_rate=1e-3,
    peft_config=p_tuning_config,
    refuse=refuse_virtual_tokens,
    no_merge=NO_MERGE,
    peft_type="P_TUNING",
)
