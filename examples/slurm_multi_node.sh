#!/bin/bash
#SBATCH --job-name=peft-labs
#SBATCH --nodes=2                    # machines
#SBATCH --ntasks-per-node=1          # one launcher per machine; it starts a process for each GPU
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120            # two minutes before the end: training saves a checkpoint and stops
#SBATCH --requeue
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append           # a requeued job appends to the same log
#
# Several machines with Slurm. Submit it in the root of the checkout, which all machines must share (with .venv):
#
#   sbatch examples/slurm_multi_node.sh my_config.yaml [key=value …]
#   sbatch --nodes=4 --gpus-per-node=8 examples/slurm_multi_node.sh my_config.yaml
#
# Each process has a batch of per_device_train_batch_size rows: more GPUs mean a larger effective batch.
# Without a checkpoint, --resume starts from the beginning, so that a requeued job needs no other command.
set -euo pipefail
config=${1:?usage: sbatch examples/slurm_multi_node.sh CONFIG.yaml [key=value …]}
shift

gpus=${SLURM_GPUS_ON_NODE:-1}
# Rendezvous: the first machine of the job, with a port that depends on the job.
# sed reads to the end; head would close the pipe early, which pipefail reports as a failure.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
port=$((20000 + SLURM_JOB_ID % 20000))
export OMP_NUM_THREADS=$((${SLURM_CPUS_PER_TASK:-$gpus} / gpus > 0 ? ${SLURM_CPUS_PER_TASK:-$gpus} / gpus : 1))

# SLURM_NODEID differs between machines: in single quotes it is expanded by the shell that srun starts there.
srun --kill-on-bad-exit=1 bash -c '
  exec "${PEFT_LABS_PYTHON:-.venv/bin/python}" -m accelerate.commands.launch \
    --config_file shared/finetune/configs/accelerate_config.yaml \
    --num_machines "$SLURM_NNODES" \
    --num_processes "$((SLURM_NNODES * $1))" \
    --machine_rank "$SLURM_NODEID" \
    --main_process_ip "$2" \
    --main_process_port "$3" \
    -m shared.finetune.train --resume --config "${@:4}"
' launch "$gpus" "$first" "$port" "$config" "$@"
