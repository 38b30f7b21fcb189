# Shared by the examples; sourced, not run:  example=NAME; source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck shell=bash disable=SC2034,SC2154
#
# Removes the first argument if it is a .yaml file ("$@" are then the remaining words: key=value and options), and sets
#   config   that file, else the shipped NAME.yaml, with TINY=1 its small offline version
#   output   its output folder (training.output_dir)
#   python   the interpreter of .venv; PEFT_LABS_PYTHON names another
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
config=$root/shared/finetune/configs/${TINY:+tiny/}$example.yaml
if [[ ${1:-} == *.yaml ]]; then
  config=$1
  shift
fi
if [[ -n ${TINY:-} ]]; then
  export HF_HUB_OFFLINE=1 # the small versions need nothing from the Hub
fi
python=${PEFT_LABS_PYTHON:-$root/.venv/bin/python}

output=$(sed -n 's/^  output_dir: *\([^ #]*\).*/\1/p' "$config")
output=${output:-outputs/$(sed -n 's/^task_name: *\([^ #]*\).*/\1/p' "$config")}
for word in "$@"; do
  if [[ $word == training.output_dir=* ]]; then
    output=${word#*=}
  fi
done

# peft_labs VERB …: a command on the chosen configuration
peft_labs() {
  "$python" -m shared.cli "$1" --config "$config" "${@:2}"
}
