"""Prompt tuning (Lester et al., 2021, arXiv:2104.08691): p trained embeddings before the input, all else frozen.

It matches full fine-tuning on models of some 10 billion parameters and is weak on small ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection

if TYPE_CHECKING:
    from peft import PromptTuningConfig

NO_MERGE = "its virtual tokens are inputs, not changes of a weight"
POOL = (
    "What classification with an encoder reads: cls is the text's own [CLS] behind the prompt, first is position 0, "
    "the first virtual token, which is what peft alone would take."
)


class PromptTuningSection(PeftSection):
    """``peft:`` for prompt tuning."""

    method: Literal["prompt-tuning"]
    num_virtual_tokens: int = Field(20, ge=1, description="Length p of the prompt [tokens]; p·d parameters.")
    init: Literal["vocab", "text", "random"] = Field(
        "vocab",
        description="Where the prompt starts: embeddings of random words, of init_text, or random numbers (peft draws "
        "them from N(0, 1), far outside most models' embeddings).",
    )
    init_text: str | None = Field(
        None, description="init: text starts from this text's tokens, repeated or cut to the prompt's length."
    )
    pool: Literal["cls", "first"] = Field("cls", description=POOL)


def refuse_virtual_tokens(section: Any, model: Any, task_type: str) -> tuple[str, str] | None:
    """Why virtual input tokens can't be put before this model's input, and the fix; None where they can."""
    if getattr(model.config, "is_encoder_decoder", False) and task_type != "SEQ_2_SEQ_LM":
        why = "it finds the place to classify by token numbers, which virtual tokens do not have"
        return why, "use an encoder such as BERT, or SEQ_2_SEQ_LM with the label as text"
    return None


def prompt_tuning_config(section: PromptTuningSection, model: Any, task_type: str) -> PromptTuningConfig:
    """peft's configuration of this section.

    Args:
        section: ``config.peft``.
        model: The base; ``init: text`` takes the tokenizer beside its weights.
        task_type: ``config.task_type``.
    """
    from peft import PromptTuningConfig

    from shared.finetune.methods.support.peft_wrapper import saved_modules

    text = section.init == "text"
    return PromptTuningConfig(
        task_type=task_type,
        num_virtual_tokens=section.num_virtual_tokens,
        num_transformer_submodules=1,  # the encoder's input, as in the paper; peft would store p unused rows for T5
        prompt_tuning_init={"vocab": "SAMPLE_VOCAB", "text": "TEXT", "random": "RANDOM"}[section.init],
        prompt_tuning_init_text=section.init_text if text else None,
        tokenizer_name_or_path=model.name_or_path if text else None,
        modules_to_save=saved_modules(model),
    )


METHOD = Method(
    "prompt-tuning",
    PromptTuningSection,
    learning_rate=0.3,
    peft_config=prompt_tuning_config,
    refuse=refuse_virtual_tokens,
    no_merge=NO_MERGE,
    peft_type="PROMPT_TUNING",
)
