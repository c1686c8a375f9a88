"""From a benchmark to pass@k: settings in; samples and metrics of a run folder out.

Sampling, grading and metrics meet on disk only.
"""
