"""The exceptions that a user is meant to see."""


class UserError(Exception):
    """Bad input: one line saying what is wrong, where, and what to do. The command line prints it and exits with 2."""


class EngineFailedError(UserError):
    """An engine broke down in the midst of its work; another like it, on another machine for instance, may do it."""
