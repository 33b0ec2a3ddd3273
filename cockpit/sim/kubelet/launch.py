"""Start one container process: die with the parent, then become the command given on the command line.

Run as `python -I -S launch.py COMMAND [ARG...]`. PR_SET_PDEATHSIG survives execve, so the container is killed when the practice
cluster dies; doing it here and not in a preexec hook keeps the parent on the cheap vfork path.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for SIGKILL at the parent's death and exec; 127 and 126 are the shell's codes for absent and not executable."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if os.isatty(0):
        import fcntl
        import termios

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    command = sys.argv[1:]
    try:
        os.execvp(command[0], command)
    except FileNotFoundError as error:
        print(f"exec {command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127)
    except OSError as error:
        print(f"exec {command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(126)


if __name__ == "__main__":
    main()
