"""transformers' pipeline over a file of texts, as its documentation shows it for batches."""

import json
import sys
import time

import torch
from transformers import AutoTokenizer, pipeline

work, folder, inputs, output, batch, new_tokens = sys.argv[1:]
texts = [json.loads(line)["text"] for line in open(inputs, encoding="utf-8")]
tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left" if work == "generate" else "right")
if tokenizer.pad_token is None:
    tokenizer.pad_token = tokenizer.eos_token
name, options = "text-classification", {"truncation": True}
if work == "generate":
    name, options = (
        "text-generation",
        {"max_new_tokens": int(new_tokens), "do_sample": False, "return_full_text": False},
    )
ready = pipeline(name, model=folder, tokenizer=tokenizer, dtype=torch.float32, device="cpu", batch_size=int(batch))
start = time.perf_counter()
found = ready(texts, **options)
print(f"{len(texts)} answers in {time.perf_counter() - start:.2f} s")
with open(output, "w", encoding="utf-8") as out:
    for one in found:
        out.write(json.dumps({"answer": one["label"] if work == "classify" else one[0]["generated_text"]}) + "\n")
