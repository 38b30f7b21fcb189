"""Checks for the exercises of Lab 07, notebook 03-Inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.checks.core import Unanswered, Wrong, check, expect_function, unanswered

# --- exercise 1: the nearest words -----------------------------------------------------------------------------------


def _nearest(vector: Any, table: Any, words: list[str], k: int) -> list[str]:
    import torch

    cosines = torch.nn.functional.normalize(table, dim=1) @ torch.nn.functional.normalize(vector, dim=0)
    return [words[i] for i in cosines.topk(k).indices.tolist()]


def _nearest_mutants() -> list[tuple[Callable, str]]:
    def ranked(score: Callable) -> Callable:
        return lambda v, t, w, k: [w[i] for i in score(v, t).topk(k).indices.tolist()]

    def cosine(v, t):
        return (t @ v) / t.norm(dim=1) / v.norm()

    return [
        (ranked(lambda v, t: t @ v), "This is the inner product: long embeddings win in any direction. Divide by the "
         "lengths."),
        (ranked(lambda v, t: -(t - v).norm(dim=1)), "This is the Euclidean distance; a prompt vector may be longer "
         "than any word, and then the longest words win. Wanted is the cosine."),
        (ranked(lambda v, t: -cosine(v, t)), "You return the words with the smallest cosine; it has to be large."),
        (ranked(lambda v, t: cosine(v, t).abs()), "An opposite direction is not near: keep the sign of the cosine."),
        (lambda v, t, w, k: cosine(v, t).topk(k).indices.tolist(), "You return row indices; return the words."),
        (lambda v, t, w, k: _nearest(v, t, w, k)[::-1], "The order is reversed: the nearest word comes first."),
        (lambda v, t, w, k: _nearest(v, t, w, 1), "Return k words, not one."),
    ]  # fmt: skip


@check("The real words nearest to a prompt vector")
def nearest(answer: Callable) -> str:
    """``answer(vector, table, words, k)``: the k words with the highest cosine, nearest first."""
    import torch

    if unanswered(answer):
        raise Unanswered
    words, cases = [f"word{i}" for i in range(30)], []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        table = torch.randn(30, 6, generator=generator) * torch.rand(30, 1, generator=generator).mul(4).exp()
        cases.append((3 * torch.randn(6, generator=generator), table, words, 3 + seed))
    expect_function(answer, _nearest, cases, mutants=_nearest_mutants())
    return "Report the cosine beside the words: without it a list of words looks more meaningful than it is."


# --- exercise 2: break it, training a saved prompt further -----------------------------------------------------------


def _models() -> dict[str, tuple[Any, Any]]:
    """Case -> (a peft model of a random BERT, the prompt that was saved)."""
    import tempfile

    import torch
    from peft import PeftModel, PromptEncoderConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    shape = BertConfig(vocab_size=40, max_position_embeddings=32, **sizes)

    def base() -> Any:
        torch.manual_seed(0)
        return BertForSequenceClassification(shape)

    torch.manual_seed(1)
    trained = get_peft_model(base(), PromptEncoderConfig(task_type="SEQ_CLS", num_virtual_tokens=3))
    with tempfile.TemporaryDirectory() as folder:
        trained.save_pretrained(folder, save_embedding_layers=False)
        saved = trained.get_prompt(1)[0].detach().clone()
        reloaded = PeftModel.from_pretrained(base(), folder)
        further = get_peft_model(base(), PromptEncoderConfig(task_type="SEQ_CLS", num_virtual_tokens=3))
        set_peft_model_state_dict(further, load_file(f"{folder}/adapter_model.safetensors"))
    other = get_peft_model(base(), PromptEncoderConfig(task_type="SEQ_CLS", num_virtual_tokens=3))
    return {
        "the trained model itself": (trained, saved),
        "reloaded for inference": (reloaded, saved),
        "loaded into a new P-tuning model": (further, saved),
        "another model": (other, saved),
    }


def _is_saved(model: Any, saved: Any) -> bool:
    import torch

    return torch.allclose(model.get_prompt(1)[0], saved, atol=1e-6)


def _table_only(model: Any, saved: Any) -> bool:
    import torch

    return torch.allclose(model.prompt_encoder["default"].embedding.weight, saved, atol=1e-6)


_WRONG = [
    (_table_only, "You compare the encoder's *input*, its embeddings. In a new P-tuning model the saved vectors "
     "are put there and pass a fresh encoder; in the trained model they never were there. Compare what reaches the "
     "base: get_prompt."),
    (lambda m, s: True, "Your function accepts everything, also a prompt from a fresh encoder, which has the "
     "same shape: compare the values."),
    (lambda m, s: False, "Your function rejects everything, also the model that was saved."),
    (lambda m, s: not _is_saved(m, s), "The result is inverted: True means that the prompt is the saved one."),
]  # fmt: skip


@check("Break it: is this still the prompt that was saved?")
def same_prompt(answer: Callable[[Any, Any], bool]) -> str:
    """``answer(model, saved)``: whether the model puts exactly the saved vectors before a text."""
    if unanswered(answer):
        raise Unanswered
    models = _models()
    got, want = {}, {case: _is_saved(*given) for case, given in models.items()}
    for case, given in models.items():
        verdict = answer(*given)
        if verdict is None:
            raise Unanswered
        got[case] = bool(verdict)
    if got == want:
        return "Further training needs the encoder; the adapter file does not have it."
    for wrong, why in _WRONG:
        if all(bool(wrong(*given)) == got[case] for case, given in models.items()):
            raise Wrong(why)
    case = next(name for name in models if got[name] != want[name])
    raise Wrong(f"For {case!r} your function says {got[case]}; look at model.get_prompt(1)[0] there.")
