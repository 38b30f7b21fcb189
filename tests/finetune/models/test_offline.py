"""What is offered where the Hub can't be reached has to fit the task and the method."""

from __future__ import annotations

import pytest
import random_models as world

from shared.errors import ModelError
from shared.finetune.config import load_config
from shared.finetune.methods import METHODS
from shared.finetune.models import load_base
from shared.finetune.models.offline import offline_models


def configured(tmp_path, method, task, name="nobody/no-such-model", **peft):
    values = world.task_config(name, "rows.jsonl", task, {"method": method, **peft})
    return load_config(world.write_config(tmp_path / "c.yaml", values))


@pytest.mark.parametrize(
    ("method", "task", "offered"),
    [
        ("bitfit", "CAUSAL_LM", "use tiny:gpt2"),
        ("lora", "CAUSAL_LM", "use tiny:gpt2, tiny:llama or fetched:smollm2-135m-instruct (peft-labs fetch-models)"),
        ("lora", "SEQ_2_SEQ_LM", "use tiny:t5"),
        ("bitfit", "SEQ_CLS", "use tiny:bert, tiny:gpt2 or fetched:all-minilm-l6-v2 (peft-labs fetch-models)"),
    ],
)
def test_only_models_that_fit_are_offered(tmp_path, method, task, offered):
    assert offline_models(configured(tmp_path, method, task)) == offered


def test_the_error_of_a_model_out_of_reach_offers_them(tmp_path):
    with pytest.raises(ModelError) as caught:
        load_base(configured(tmp_path, "bitfit", "CAUSAL_LM"))
    assert caught.value.fix == "go online once, or use tiny:gpt2"


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("head", "adapter")])
def test_what_is_offered_is_accepted(tmp_path, method):
    """Each offered model of each method, with its method on it; names of layers of the missing model don't count."""
    peft = {"target_modules": ["query_key_value"]} if method == "lora" else {}
    config = configured(tmp_path, method, "CAUSAL_LM", **peft)
    names = [name for name in ("tiny:gpt2", "tiny:llama") if name in offline_models(config)]
    assert names
    for name in names:
        one = configured(tmp_path, method, "CAUSAL_LM", name)
        METHODS[method].check(load_base(one)[0], one.peft, "CAUSAL_LM")
