"""Training on TRL: a recipe in; checkpoints, rollouts and a log out, and the way on after a stop.

It never evaluates a benchmark: checkpoints go back through `evaluation`.
"""
