"""The usual merge, as peft's documentation shows it: load all, merge_and_unload, save."""

import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter, output = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
merged.save_pretrained(output, max_shard_size="500MB")
AutoTokenizer.from_pretrained(base).save_pretrained(output)
