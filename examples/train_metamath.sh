#!/usr/bin/env bash
# MetaMathQA with a causal language model: train (or resume), and score the final number of each answer.
#
#   examples/train_metamath.sh                                QLoRA of a 7B model, on a GPU, from the Hub
#   TINY=1 examples/train_metamath.sh                         its small offline version, on a CPU
#   examples/train_metamath.sh my.yaml [key=value …]
example=metamath_qa
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# --resume starts from the beginning where there is no checkpoint; the answers are scored below and saved to a file
peft_labs train --resume --no_score "$@"
peft_labs evaluate --model_path "$output" --output_file "$output-scores.json" "$@"
