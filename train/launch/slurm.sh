#!/bin/bash
# Train a recipe under SLURM; submit the same line again, and it goes on from the last checkpoint.
#
#   sbatch --nodes=3 train/launch/slurm.sh train/configs/several-nodes.yaml [KEY=VALUE ...]
#   sbatch --nodes=1 train/launch/slurm.sh train/configs/eight-gpus.yaml
#
# Where the recipe says vllm_mode: server, the first node serves the policy and the others train. Variables:
#   LAUNCH  accelerate's configuration (train/launch/zero3.yaml)
#   OUT     training folder, on a file system that all nodes share (default: a name under results/)
#   PORT    of the vLLM server (8000); the next port is that of the training processes
# Have the environment with expo-bench[train,vllm] active, and the model and EXPO_BENCH_DATA where all nodes see them.
#SBATCH --job-name=expo-bench
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --signal=TERM@120
#SBATCH --output=%x-%j.log
set -euo pipefail

recipe=${1:?usage: sbatch --nodes=N train/launch/slurm.sh RECIPE [KEY=VALUE ...]}
launch=${LAUNCH:-train/launch/zero3.yaml}
port=${PORT:-8000}
gpus=${SLURM_GPUS_ON_NODE:-8}
command=(train "$@" ${OUT:+-o "$OUT"})

settings='import json, sys; r = json.load(sys.stdin)["recipe"]; print(r["model"], r["trl"].get("vllm_mode", "none"))'
read -r model mode < <(expo-bench train "$@" --dry-run --json | python -c "$settings")
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

if [[ $mode == server ]]; then
    if (( ${#nodes[@]} < 2 )); then
        echo "slurm.sh: vllm_mode: server needs two nodes at least" >&2
        exit 2
    fi
    srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" \
        trl vllm-serve --model "$model" --data_parallel_size "$gpus" --host 0.0.0.0 --port "$port" &
    server=$!
    trap 'kill "$server" 2>/dev/null || true' EXIT
    export EXPO_BENCH_VLLM_SERVER="http://${nodes[0]}:$port"
    nodes=("${nodes[@]:1}")
fi

export MAIN_IP=${nodes[0]} MAIN_PORT=$((port + 1)) MACHINES=${#nodes[@]} LAUNCH=$launch
export PROCESSES=$((MACHINES * gpus))
# the rank of a machine is known only in its own task; in a pool of one, accelerate needs no address
# shellcheck disable=SC2016
srun --overlap --nodes="$MACHINES" --ntasks="$MACHINES" --nodelist="$(IFS=,; echo "${nodes[*]}")" \
    bash -c 'exec accelerate launch --config_file "$LAUNCH" --num_machines "$MACHINES" --num_processes "$PROCESSES" \
        --machine_rank "$SLURM_PROCID" --main_process_ip "$MAIN_IP" --main_process_port "$MAIN_PORT" \
        -m expo_bench "$@"' bash "${command[@]}"
