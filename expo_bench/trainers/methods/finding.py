"""A name -> its method: each file of this folder that holds one is found by its name."""

import importlib
import pkgutil
from functools import cache

from expo_bench.errors import UserError
from expo_bench.trainers import methods
from expo_bench.trainers.methods.base import Method

_NO_METHODS = {"base", "chains", "finding", "hints", "rounds", "teaching", "terms"}


@cache
def method_names() -> tuple[str, ...]:
    """Return the names of all methods, sorted."""
    found = {one.name for one in pkgutil.iter_modules(methods.__path__) if not one.name.startswith("_")}
    return tuple(sorted(found - _NO_METHODS))


@cache
def find_method(name: str) -> type[Method]:
    """Return the class of a method.

    Raises:
        UserError: no file of that name.
    """
    if name not in method_names():
        raise UserError(f"method {name!r} is none of {', '.join(method_names())}")
    module = importlib.import_module(f"{methods.__name__}.{name}")
    own = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Method) and one.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise UserError(f"{module.__file__} must hold one class that is a Method, and holds {len(own)}")
    return own[0]
