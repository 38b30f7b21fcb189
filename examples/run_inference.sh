#!/usr/bin/env bash
# Answers of a trained model, for one text or for a file of texts.
#
#   examples/run_inference.sh --input_text "…"                       gsm8k.yaml, trained with train_multi_gpu.sh
#   examples/run_inference.sh my.yaml --input_file in.jsonl --output_file out.jsonl
#   TINY=1 examples/run_inference.sh                                 the small offline version, with an example
#   MODEL_PATH=folder examples/run_inference.sh my.yaml …            an adapter or model other than the configuration's
example=gsm8k
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

model=${MODEL_PATH:-$output}
if [[ ! -d $model ]]; then
  echo "there is no trained model in $model; train it first: peft-labs train --config $config" >&2
  exit 1
fi
if [[ $* != *--input_* ]]; then
  set -- "$@" --input_text "Ida has 3 bags with 4 pens in each. Then Ida loses 5. How many pens does Ida have now?"
fi
peft_labs inference --model_path "$model" "$@"
