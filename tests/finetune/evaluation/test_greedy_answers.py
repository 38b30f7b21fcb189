"""Greedy answers do not depend on what a model's own generation settings say."""

from random_models import WORDS, make_model


def test_a_model_whose_settings_sample_still_answers_greedily(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from shared.finetune.evaluation import generate_answers

    folder = make_model(tmp_path / "model")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    prompts = [" ".join(WORDS[i : i + 4]) for i in range(8)]
    greedy = generate_answers(model, tokenizer, prompts, max_new_tokens=6)
    model.generation_config.do_sample, model.generation_config.temperature = True, 5.0  # as Llama-2's file does, hotter
    assert generate_answers(model, tokenizer, prompts, max_new_tokens=6) == greedy
