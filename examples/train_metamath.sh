#!/usr/bin/env bash
# MetaMathQA with a causal language model: train (or resume after a kill), and score the final numbers.
#
#   examples/train_metamath.sh                                QLoRA of a 7B model, on a GPU, from the Hub
#   TINY=1 examples/train_metamath.sh                         the small offline version, on a CPU
#   examples/train_metamath.sh my.yaml [key=value …]
example=metamath_qa
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# without a checkpoint, --resume starts from the beginning; the answers are scored below and saved in a file
peft_labs train --resume --no_score "$@"
peft_labs evaluate --model_path "$output" --output_file "$output-scores.json" "$@"
