"""A worker for tests of the pool: `python -m misbehaving_worker`."""

import os
import signal
import time

from expo_bench.grading.serving import serve


def hang(mark: str) -> bool:
    while True:
        pass


def hang_in_c(mark: str) -> bool:
    return 9 ** (9**9 - len(mark)) > 0


def sleep(mark: str) -> bool:
    time.sleep(60)
    return True


def crash(mark: str) -> bool:
    os.kill(os.getpid(), signal.SIGSEGV)
    return True


def leave(mark: str) -> bool:
    os._exit(3)


def kill_group(mark: str) -> bool:
    os.killpg(os.getpgrp(), signal.SIGKILL)
    return True


def stop(mark: str) -> bool:
    os.kill(os.getpid(), signal.SIGSTOP)
    return True


def eat(mark: str) -> bool:
    return len(bytearray(1 << 33)) > 0


def fail(mark: str) -> bool:
    raise ZeroDivisionError


def chatter(mark: str) -> bool:
    print("[1, true, 0.0, false]")
    os.write(1, b"[1, true, 0.0, false]\n")
    return True


def is_even(number: str) -> bool:
    return int(number) % 2 == 0


if __name__ == "__main__":
    serve(
        {
            function.__name__: function
            for function in (hang, hang_in_c, sleep, crash, leave, kill_group, stop, eat, fail, chatter, is_even)
        }
    )
