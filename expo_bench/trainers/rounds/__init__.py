"""Methods in rounds: candidates or thoughts in, rows of DPO or SFT out, again with the policy that came of them.

It never draws inside a training step.
"""
