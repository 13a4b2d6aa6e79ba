#!/bin/bash
# Workers as jobs of Slurm: `sbatch examples/slurm.sh`, on any node that reaches the database (docs/machines.md).
# Each job trains what is queued and ends when nothing is; the time limit, scancel and preemption lose no more than the
# step that is being trained.

#SBATCH --job-name=lab-worker
#SBATCH --array=1-8%4
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
# USR1 comes 90 seconds before the end, to this script alone: 30 are for saving, and Slurm may be up to 60 late.
#SBATCH --signal=B:USR1@90
# A preempted job is queued again; its run is trained on by then.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=lab-worker-%A_%a.log

set -euo pipefail

export PATH="${LAB_VENV:-/srv/lab/.venv}/bin:$PATH"
export LAB_THREADS="${LAB_THREADS:-${SLURM_CPUS_PER_TASK:-0}}"

# LAB_DATABASE_URL, LAB_BROKER_URL and LAB_HOME or LAB_STORE come from where sbatch was called, or from an .env there.
# exec: the signal must reach `lab worker`; bash would wait with it until its child has ended.
exec lab worker --workers 1 --until-empty
