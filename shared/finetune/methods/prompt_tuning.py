"""Prompt tuning (Lester et al., 2021, arXiv:2104.08691): p trained embeddings before the input; the rest is frozen.

It matches full fine-tuning on models of about 10 billion parameters and is weak on small ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection

if TYPE_CHECKING:
    from peft import PromptTuningConfig

NO_MERGE = "its virtual tokens are inputs and change no weight"
POOL = (
    "Which output classification with an encoder uses: cls is the text's own [CLS] after the prompt, first is position "
    "0, the first virtual token, as in peft."
)


class PromptTuningSection(PeftSection):
    """``peft:`` for prompt tuning."""

    method: Literal["prompt-tuning"]
    num_virtual_tokens: int = Field(20, ge=1, description="Length p of the prompt [tokens]; p·d parameters.")
    init: Literal["vocab", "text", "random"] = Field(
        "vocab",
        description="Initial prompt: embeddings of random tokens, of init_text, or random numbers (peft draws "
        "them from N(0, 1), far outside most models' embeddings).",
    )
    init_text: str | None = Field(
        None, description="With init: text, the prompt starts from this text's tokens, repeated or cut to its length."
    )
    pool: Literal["cls", "first"] = Field("cls", description=POOL)


def refuse_virtual_tokens(section: Any, model: Any, task_type: str) -> tuple[str, str] | None:
    """Why virtual tokens can't be put before this model's input, and the fix; None otherwise."""
    if getattr(model.config, "is_encoder_decoder", False) and task_type != "SEQ_2_SEQ_LM":
        why = "it finds the position to classify by token ids, which virtual tokens do not have"
        return why, "use an encoder such as BERT, or SEQ_2_SEQ_LM with the label as text"
    return None


def prompt_tuning_config(section: PromptTuningSection, model: Any, task_type: str) -> PromptTuningConfig:
    """peft's configuration of this section.

    Args:
        section: ``config.peft``.
        model: The base; ``init: text`` uses the tokenizer in its folder.
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
