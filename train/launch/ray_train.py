"""Train a recipe on a Ray cluster, one process a GPU, each with a whole copy of the policy (DDP).

    ray job submit --working-dir . -- python train/launch/ray_train.py train/configs/eight-gpus.yaml --workers 8 \
        -o /nfs/results/eight-gpus [KEY=VALUE ...]

The training folder must be on a file system that all workers share. The same line again goes on from the last
checkpoint. For ZeRO-3 or FSDP take slurm.sh or accelerate itself.
"""

import argparse
import os
from pathlib import Path


def train_worker(settings: dict) -> None:
    """Run in each worker; Ray has set rank, world size and address, and joined the processes."""
    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.commands.train import SilentProgress
    from expo_bench.storage.training_folder import TrainingFolder
    from expo_bench.trainers.training import load_recipe, train

    recipe = load_recipe(Path(settings["recipe"]), {}, settings["overrides"])
    folder = TrainingFolder(settings["out"])
    if os.environ["RANK"] != "0":
        train(recipe, folder, SilentProgress())
        return
    with TerminalProgress() as progress:
        train(recipe, folder, progress)


def main() -> None:
    """Ask Ray for the workers and wait for them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("-o", "--out", required=True)
    parser.add_argument("--workers", type=int, default=8)
    given = parser.parse_args()

    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    TorchTrainer(
        train_worker,
        train_loop_config=vars(given),
        scaling_config=ScalingConfig(num_workers=given.workers, use_gpu=True),
    ).fit()


if __name__ == "__main__":
    main()
