#!/usr/bin/env bash
# Train on all GPUs of this machine; without a GPU, with two processes on the CPU.
#
#   examples/train_multi_gpu.sh                               GSM8K, QLoRA of a 7B model, from the Hub
#   TINY=1 examples/train_multi_gpu.sh                        the small offline version
#   DEEPSPEED=1 examples/train_multi_gpu.sh my.yaml           ZeRO-2, optimizer states in main memory; run it in the
#                                                             root of the checkout
#
# Each process has a batch of per_device_train_batch_size rows: more GPUs mean a larger effective batch.
example=gsm8k
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

launch=(--config_file "$root/shared/finetune/configs/accelerate_cpu.yaml")
if gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) && ((gpus > 0)); then
  file=accelerate_config.yaml
  if [[ -n ${DEEPSPEED:-} ]]; then
    file=accelerate_deepspeed.yaml
  fi
  launch=(--config_file "$root/shared/finetune/configs/$file" --num_processes "$gpus")
else
  set -- "$@" training.use_cpu=true
fi

"$python" -m accelerate.commands.launch "${launch[@]}" --main_process_port "${PORT:-29511}" \
  -m shared.finetune.train --config "$config" "$@"
