"""`expo-bench demo`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from expo_bench.commands.study import carry_out


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the study.")] = Path("results/demo"),
) -> None:
    """Run the whole loop on the micro world, without a download, in a few minutes.

    The embedded policy is evaluated and its candidate positives are scored; it is trained by GRPO, by ExP-GRPO and by
    GRPO with expert chains; all that is evaluated again and compared, in one report.
    """
    file = Path(__file__).parents[1] / "assets" / "studies" / "demo.yaml"
    carry_out(file, out, "The loop on the micro world", min(2, os.cpu_count() or 1), as_json=False)
