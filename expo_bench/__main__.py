"""`python -m expo_bench`: how accelerate and torchrun start the command line."""

from expo_bench.commands.cli import main

main()
