"""Results that travel: a finished run or a checkpoint in; files that others read, and what goes to the hub, out.

It grades nothing and computes no metric.
"""
