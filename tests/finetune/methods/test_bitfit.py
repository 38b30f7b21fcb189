"""Which parameters BitFit trains, on architectures that name their bias terms in different ways."""

import pytest
import transformers as tf
from torch import nn

from shared.errors import ModelError
from shared.finetune.methods import METHODS
from shared.finetune.methods.bitfit import is_bias

BITFIT = METHODS["bitfit"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 30}
DISTILBERT = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "vocab_size": 30}
MODELS = {
    "bert": lambda: tf.BertForSequenceClassification(tf.BertConfig(**SIZES)),
    "roberta": lambda: tf.RobertaForSequenceClassification(tf.RobertaConfig(**SIZES)),
    "deberta": lambda: tf.DebertaForSequenceClassification(tf.DebertaConfig(**SIZES, max_position_embeddings=32)),
    "deberta-v2": lambda: tf.DebertaV2ForSequenceClassification(tf.DebertaV2Config(**SIZES)),
    "distilbert": lambda: tf.DistilBertForSequenceClassification(tf.DistilBertConfig(**DISTILBERT)),
    "opt": lambda: tf.OPTForSequenceClassification(
        tf.OPTConfig(hidden_size=16, word_embed_proj_dim=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=2)
    ),
    "gpt2": lambda: tf.GPT2ForSequenceClassification(tf.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=30)),
}
HEADS = ("classifier", "score", "pre_classifier")


def trained_names(name, biases="all"):
    model = MODELS[name]()
    BITFIT.apply(model, BITFIT.section(method="bitfit", biases=biases), "SEQ_CLS")
    named = {n: p for n, p in model.named_parameters() if not n.startswith(HEADS)}
    return named, {n for n, p in named.items() if p.requires_grad}


@pytest.mark.parametrize("name", MODELS)
def test_all_vectors_that_are_added_are_trained_and_nothing_else(name):
    named, trained = trained_names(name)
    weights = {n for n in named if n.rpartition(".")[2] == "weight"}
    assert trained and trained == set(named) - weights, "what is not called weight is a bias in these models"
    assert all(named[n].dim() == 1 for n in trained)


def test_the_rule_finds_debertas_biases_of_query_and_value():
    _, trained = trained_names("deberta")
    assert sum(n.endswith((".q_bias", ".v_bias")) for n in trained) == 4


@pytest.mark.parametrize(
    ("module", "want"),
    [
        (nn.MultiheadAttention(8, 2), {"in_proj_bias", "out_proj.bias"}),
        (
            nn.LSTM(4, 4, bidirectional=True),
            {f"bias_{kind}_l0{way}" for kind in ("ih", "hh") for way in ("", "_reverse")},
        ),
        (nn.LayerNorm(4), {"bias"}),
        (nn.Linear(4, 4, bias=False), set()),
    ],
)
def test_the_rule_finds_the_biases_of_torchs_modules(module, want):
    assert {name for name, _ in module.named_parameters() if is_bias(name)} == want


@pytest.mark.parametrize(
    "name",
    [
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",  # T5: a table of positions
        "cpmant.position_bias.relative_attention_bias",  # CPM-Ant: the table is a parameter of its own
        "layers.0.attention.rel_pos_bias",
        "swin.relative_position_bias_table",
        "debias.weight",
        "block.unbias",
    ],
)
def test_a_name_that_only_looks_like_a_bias_is_left_alone(name):
    assert not is_bias(name)


@pytest.mark.parametrize("name", ["bert", "roberta", "deberta", "deberta-v2", "distilbert", "opt"])
def test_the_half_size_variant_takes_query_and_intermediate_of_each_layer(name):
    named, trained = trained_names(name, "query+intermediate")
    assert sorted(named[n].numel() for n in trained) == [16, 16, 24, 24]


def test_the_half_size_variant_refuses_a_fused_query_instead_of_training_one_kind_only():
    with pytest.raises(ModelError, match="fuses query, key"):
        trained_names("gpt2", "query+intermediate")


def test_a_bias_of_the_head_counts_to_the_head():
    model = MODELS["bert"]()
    BITFIT.apply(model, BITFIT.section(method="bitfit"), "SEQ_CLS")
    assert model.classifier.bias.requires_grad and model.classifier.weight.requires_grad
