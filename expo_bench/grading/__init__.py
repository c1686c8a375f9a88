"""Is it right? A gold answer and a text in, a verdict with a status out.

Judging runs in worker processes that can be killed; no other room imports math-verify.
"""
