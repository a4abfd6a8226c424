"""Says of the sockets that come with it that they are this process's, then becomes another program: ``argv…``.

The variable that says so holds the number of the process that is meant, which is known only in it. Run as a script with
``python -I -S`` (some 20 ms): a function between fork and exec would be unsafe beside threads.
"""

import os
import sys


def main(argv: list[str]) -> None:
    """Replace this process by ``argv``; return only to fail."""
    os.environ["LISTEN_PID"] = str(os.getpid())
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"error: {argv[0]}: {error.strerror}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.exit(127)
