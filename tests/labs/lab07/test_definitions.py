"""P-tuning as Lab-07 writes it, taken from the notebooks, equals peft and plain transformers on several shapes."""

import pytest
import torch
from notebook_code import definitions, solutions
from peft import PromptEncoder as LibraryEncoder
from peft import PromptEncoderConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
)

from shared.finetune.methods.support.peft_wrapper import adapt_wrapper
from shared.tiny import model_path

LAB, TRAIN, DEPLOY = "Lab-07-P_Tuning", "02-Train", "04-Merge_and_Deploy"
PSEUDO = -1


def small_bert(cls, seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    shape = BertConfig(vocab_size=1600, max_position_embeddings=48, initializer_range=0.4, **(sizes | changes))
    return cls(shape).eval()


def encoders(p, d, h, kind, seed):
    """The notebook's encoder and peft's with the same weights."""
    torch.manual_seed(seed)
    ours = definitions(LAB, TRAIN, "PromptEncoder")["PromptEncoder"](p, d, h, kind)
    sizes = {"num_virtual_tokens": p, "token_dim": d, "encoder_hidden_size": h, "num_transformer_submodules": 1}
    theirs = LibraryEncoder(PromptEncoderConfig(encoder_reparameterization_type=kind.upper(), **sizes))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


SHAPES = [(1, 8, 8, 0), (7, 24, 10, 1), (20, 16, 40, 2), (9, 32, 16, 3)]


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
@pytest.mark.parametrize(("p", "d", "h", "seed"), SHAPES)
def test_the_encoder_equals_pefts_in_output_and_all_gradients(p, d, h, seed, kind):
    ours, theirs = encoders(p, d, h, kind, seed)
    left, right = ours(), theirs(torch.arange(p)[None])[0]
    assert left.shape == (p, d)
    torch.testing.assert_close(left, right)
    left.square().sum().backward()
    right.square().sum().backward()
    pairs = list(zip(ours.named_parameters(), theirs.parameters(), strict=True))
    assert len(pairs) == {"mlp": 7, "lstm": 21}[kind]
    for (_name, mine), library in pairs:
        assert p == 1 or mine.grad.abs().sum() > 0, "with one step an LSTM never uses its state"
        torch.testing.assert_close(mine.grad, library.grad)


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_the_comparison_notices_a_planted_error(kind):
    ours, theirs = encoders(5, 12, 6, kind, 0)
    with torch.no_grad():
        list(ours.mlp_head.parameters())[-1][0] += 0.5
    with pytest.raises(AssertionError):
        torch.testing.assert_close(ours(), theirs(torch.arange(5)[None])[0])


def test_without_an_encoder_the_vectors_are_the_embeddings():
    encoder = definitions(LAB, TRAIN, "PromptEncoder")["PromptEncoder"](4, 6, 3, "none")
    assert encoder() is encoder.embedding.weight and sum(1 for _ in encoder.parameters()) == 1


def peft_model(base, p, kind, pool, h):
    torch.manual_seed(3)
    how = {"encoder_reparameterization_type": kind.upper(), "encoder_hidden_size": h}
    model = get_peft_model(base, PromptEncoderConfig(task_type="SEQ_CLS", num_virtual_tokens=p, **how))
    return adapt_wrapper(model, "SEQ_CLS", pool).eval()


@pytest.mark.parametrize(("p", "kind", "h"), [(1, "mlp", 24), (6, "mlp", 8), (5, "lstm", 12)])
@pytest.mark.parametrize("pool", ["cls", "first"])
def test_prepending_equals_pefts_whole_model_in_logits_and_gradients(p, kind, h, pool):
    found = definitions(LAB, TRAIN, "PromptEncoder", "prepend")
    base = small_bert(BertForSequenceClassification)
    theirs, alone = peft_model(base, p, kind, pool, h), small_bert(BertForSequenceClassification)
    alone.load_state_dict({k.replace("modules_to_save.default.", ""): v for k, v in base.state_dict().items()
                           if "original_module" not in k})  # fmt: skip
    ours = found["PromptEncoder"](p, 24, h, kind)
    ours.load_state_dict(theirs.prompt_encoder["default"].state_dict())
    ids = torch.randint(5, 1600, (3, 9))
    mask = torch.tensor([[1] * 9, [1] * 6 + [0] * 3, [1] * 9])
    hidden = found["prepend"](alone, ours(), ids, mask)
    assert hidden.shape == (3, p + 9, 24)
    left = alone.classifier(alone.bert.pooler(hidden[:, p if pool == "cls" else 0 :]))
    right = theirs(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    left.square().sum().backward()
    right.square().sum().backward()
    for mine, library in zip(ours.parameters(), theirs.prompt_encoder["default"].parameters(), strict=True):
        torch.testing.assert_close(mine.grad, library.grad, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(model_path("bert"))


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ([2, "[X]", 1, "[MASK]", 1], [-1, -1, "X", -1, "[MASK]", -1]),
        (["[X]", "It was [MASK]."], ["X", "It", "was", "[MASK]", "."]),
        ([0, "[X]", 3], ["X", -1, -1, -1]),
    ],
)
def test_a_template_is_filled_in_its_order(tokenizer, template, wanted):
    fill = definitions(LAB, TRAIN, "fill_template", PSEUDO=PSEUDO)["fill_template"]
    ids = tokenizer("The plot is dull.", add_special_tokens=False)["input_ids"]
    expected = [tokenizer.cls_token_id]
    for part in wanted:
        if part == "X":
            expected += ids
        else:
            expected.append(part if part == -1 else tokenizer.convert_tokens_to_ids(part))
    assert fill(template, ids, tokenizer) == [*expected, tokenizer.sep_token_id]


def test_vectors_that_are_real_words_give_what_the_words_give(tokenizer):
    """The template model against transformers alone: pseudo-tokens that hold real words' embeddings are those words."""
    found = definitions(LAB, TRAIN, "fill_template", "PromptEncoder", "TemplateModel", PSEUDO=PSEUDO)
    lm = small_bert(BertForMaskedLM).requires_grad_(False)
    labels = ["terrible", "great"]
    words = tokenizer("In short , it was", add_special_tokens=False)["input_ids"]
    encoder = found["PromptEncoder"](len(words), 24, 8, "none")
    encoder.embedding.weight.data = lm.get_input_embeddings().weight[torch.tensor(words)].clone()
    model = found["TemplateModel"](lm, tokenizer, ["[X]", len(words), "[MASK]", "."], labels, encoder)
    texts = ["The plot is dull.", "Silent River is anything but lovely, my brother said."]
    asked = tokenizer([f"{text} In short , it was [MASK] ." for text in texts], return_tensors="pt", padding=True)
    scores = lm(input_ids=asked["input_ids"], attention_mask=asked["attention_mask"]).logits
    at_mask = scores[asked["input_ids"] == tokenizer.mask_token_id][:, tokenizer.convert_tokens_to_ids(labels)]
    got = model([tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts])
    torch.testing.assert_close(got, at_mask, rtol=1e-4, atol=1e-5)
    got.sum().backward()
    assert (encoder.embedding.weight.grad.norm(dim=1) > 0).all()
    assert all(parameter.grad is None for parameter in lm.parameters())
    encoder.embedding.weight.data[0] = torch.randn(24)
    assert not torch.allclose(model([texts_ids(tokenizer, texts[0])])[0], at_mask[0], atol=1e-3), "words must matter"


def texts_ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
@pytest.mark.parametrize(("p", "d", "h", "seed"), SHAPES[1:])
def test_running_the_stored_encoder_once_gives_pefts_prompt(p, d, h, seed, kind):
    run_once = definitions(LAB, DEPLOY, "run_once")["run_once"]
    _, theirs = encoders(p, d, h, kind, seed)
    torch.testing.assert_close(run_once(dict(theirs.state_dict())), theirs(torch.arange(p)[None])[0].detach())


@pytest.mark.parametrize("p", [1, 4, 9])
def test_moved_positions_put_cls_first_without_a_change(p):
    move = solutions(LAB, DEPLOY)["move_positions_solution"]
    prepend = definitions(LAB, TRAIN, "prepend")["prepend"]
    model, vectors = small_bert(BertForSequenceClassification), torch.randn(p, 24)
    ids, mask = torch.randint(5, 1600, (2, 7)), torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    with torch.no_grad():
        wanted = model.classifier(model.bert.pooler(prepend(model, vectors, ids, mask)[:, p:]))
        table = model.bert.embeddings.position_embeddings.weight
        words = model.get_input_embeddings()(ids)
        row = torch.cat([words[:, :1], vectors.expand(2, -1, -1), words[:, 1:]], dim=1)
        wide = torch.cat([mask[:, :1], mask.new_ones(2, p), mask[:, 1:]], dim=1)
        unmoved = model(inputs_embeds=row, attention_mask=wide).logits
        table.data = move(table.data, p)
        torch.testing.assert_close(model(inputs_embeds=row, attention_mask=wide).logits, wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(unmoved, wanted, atol=1e-3), "the test would not notice a table that was not moved"


def template_model(tokenizer, lm, template, words, kind="lstm"):
    names = ("fill_template", "PromptEncoder", "TemplateModel", "output_gradients", "Detached")
    text = tokenizer("The plot is dull.", add_special_tokens=False)["input_ids"]
    found = definitions(LAB, TRAIN, *names, PSEUDO=PSEUDO, text=text)
    torch.manual_seed(1)
    encoder = found["PromptEncoder"](9, lm.config.hidden_size, 8, kind)
    return found["TemplateModel"](lm, tokenizer, template, words, encoder), found


def test_the_gradient_check_notices_outputs_that_do_not_train(tokenizer):
    lm = small_bert(BertForMaskedLM).requires_grad_(False)
    model, found = template_model(tokenizer, lm, [3, "[X]", 3, "[MASK]", 3], ["terrible", "great"])
    assert (found["output_gradients"](model) > 0).all()
    model.encoder = found["Detached"](model.encoder)
    model.zero_grad()
    norms = found["output_gradients"](model)
    assert (norms[:6] > 0).all() and (norms[6:] == 0).all()
    assert (model.encoder.encoder.embedding.weight.grad.norm(dim=1) > 0).all(), "the inputs alone would not tell"


def test_a_causal_model_is_read_at_its_last_token_whatever_the_padding():
    tokenizer = AutoTokenizer.from_pretrained(model_path("gpt2"))
    lm = AutoModelForCausalLM.from_pretrained(model_path("gpt2")).eval().requires_grad_(False)
    words = [" hated", " liked"]
    model, _ = template_model(tokenizer, lm, [4, "[X]", 5], words)
    texts = [
        tokenizer(text)["input_ids"] for text in ("The plot is dull.", "I liked Silent River more than I can say.")
    ]
    both, alone = model(texts), torch.cat([model([one]) for one in texts])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-4)
    asked = tokenizer("</s>The plot is dull. Ann", return_tensors="pt", add_special_tokens=False)["input_ids"]
    plain, _ = template_model(tokenizer, lm, ["[X]", " Ann"], words)
    wanted = lm(asked).logits[0, -1, [tokenizer(word)["input_ids"][0] for word in words]]
    torch.testing.assert_close(plain([texts[0]])[0], wanted, rtol=1e-4, atol=1e-4)


def test_batches_use_every_row_once_in_each_epoch():
    draw = definitions(LAB, TRAIN, "batches")["batches"]
    rows = [{"number": i} for i in range(10)]
    found = [row["number"] for batch in draw(rows, 4, 5, seed=0) for row in batch]
    assert len(found) == 20 and sorted(found[:10]) == sorted(found[10:]) == list(range(10))
    assert found != [row["number"] for batch in draw(rows, 4, 5, seed=1) for row in batch]
