"""What generates and scores: requests in, completions and log-probabilities out. A folder an engine.

The hall holds what all engines share; no engine knows a benchmark.
"""
