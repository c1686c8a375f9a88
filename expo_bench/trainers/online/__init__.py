"""Methods that draw their rollouts at every step: a policy and problems in, a loss out.

Nothing here writes a file but through the recorder.
"""
