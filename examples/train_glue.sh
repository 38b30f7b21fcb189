#!/usr/bin/env bash
# A GLUE task with BERT: check the configuration, train, score, and merge the adapter.
#
#   examples/train_glue.sh                                    MRPC with BERT-base, from the Hub
#   TINY=1 examples/train_glue.sh                             the small offline version, seconds on a CPU
#   examples/train_glue.sh dataset.config=sst2 training.output_dir=outputs/sst2
#   examples/train_glue.sh my.yaml [key=value …]
example=glue_mrpc
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$python" -m shared.cli validate-config "$config" "$@"
peft_labs train "$@"
peft_labs merge-adapter --adapter_path "$output" --output_path "$output-merged" "$@"
