#!/bin/bash
# A study on a SLURM cluster: one Ray node a SLURM node, trunks wherever there is room.
#
#   sbatch --nodes 4 studies/cluster/slurm.sh cpu-english --folder /shared/corpus --data /shared/corpus
#
# What follows the script's name goes to `moebook study run`. Submit it from the checkout, which must lie on a disk
# that all nodes see, as must what --folder names, after `.venv/bin/pip install -e '.[ray]'` there. A minute before the
# time is up it stops by itself; submit it again, and it goes on from the checkpoints. For GPUs add a line
# `#SBATCH --gpus-per-node=8`.
#SBATCH --job-name=moebook
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=08:00:00
#SBATCH --output=moebook-%j.log
#SBATCH --signal=B:INT@60

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
export PATH="$PWD/.venv/bin:$PATH"
export RAY_USAGE_STATS_ENABLED=0
export OMP_NUM_THREADS=1
# Whoever reaches Ray's port can run what he likes: only who knows this job's token is let in.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
head_address=$(srun --nodes=1 --ntasks=1 --nodelist="$head_node" hostname --ip-address | awk '{print $1}')
address="$head_address:${RAY_PORT:-6379}"

# On every node: start Ray; on the first, once all have joined, also the driver; at its end, stop Ray. The signal before
# the end goes to this shell, whose place srun takes (exec); of one such signal srun would only say how its tasks
# stand, but for --disable-status, by which it hands it on to all of them.
exec srun --disable-status --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --kill-on-bad-exit=0 \
  ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
  moebook study run "$@" --on ray --address "$address"
