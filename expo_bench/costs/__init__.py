"""What a run, a recipe or a study will take: settings in, tokens, bytes and seconds out.

It probes engines for a moment and never writes a result.
"""
