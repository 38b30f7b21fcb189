#!/usr/bin/env bash
# Answers of a trained model, for one text or for a file of texts.
#
#   examples/run_inference.sh --input_text "…"                       gsm8k.yaml, trained with train_multi_gpu.sh
#   examples/run_inference.sh my.yaml --input_file in.jsonl --output_file out.jsonl
#   TINY=1 examples/run_inference.sh                                 a small offline version, trained first if need be
#   MODEL_PATH=folder examples/run_inference.sh my.yaml …            another adapter or model than the configuration's
example=gsm8k
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

model=${MODEL_PATH:-$output}
if [[ ! -d $model && -n ${TINY:-} && -z ${MODEL_PATH:-} ]]; then
  echo "there is no trained model in $model yet: training the small offline version"
  words=() # the overrides; the options are for the inference
  for word in "$@"; do
    if [[ $word =~ ^[a-z_]+\.[a-z0-9_.]+= ]]; then
      words+=("$word")
    fi
  done
  peft_labs train --no_score ${words[@]+"${words[@]}"}
fi
if [[ ! -d $model ]]; then
  echo "there is no trained model in $model; train it first: peft-labs train --config $config" >&2
  exit 1
fi
if [[ $* != *--input_* ]]; then
  set -- "$@" --input_text "Ida has 3 bags with 4 pens in each. Then Ida loses 5. How many pens does Ida have now?"
fi
peft_labs inference --model_path "$model" "$@"
