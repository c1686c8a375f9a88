"""Who writes into a folder: one process at a time."""

import fcntl
from pathlib import Path

from expo_bench.errors import UserError, reason
from expo_bench.storage.row_files import writing

_LOCKS = Path("/proc/locks")


class Lock:
    """A folder that this process writes to, until it is closed; one that nothing was written into goes with it."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; the lock dies with the process or when it is closed.

        Raises:
            UserError: another process writes into this folder, or it cannot be written to.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {folder}: {reason(error)}; choose another with -o") from error
        with writing(folder):
            self._handle = (folder / ".lock").open("ab")
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._handle.close()
            raise UserError(
                f"another process is writing to {folder}; wait for it or choose another folder with -o"
            ) from error

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the folder go."""
        file = self._folder / ".lock"
        if file.is_file() and [path.name for path in self._folder.iterdir()] == [".lock"]:
            file.unlink()
            self._folder.rmdir()
        self._handle.close()


def being_written(folder: Path) -> bool:
    """Tell whether a process of this machine holds the folder, without taking it even for a moment."""
    try:
        inode = (folder / ".lock").stat().st_ino
        return any(line.split()[5].endswith(f":{inode}") for line in _LOCKS.read_text().splitlines())
    except (OSError, IndexError):
        return False
