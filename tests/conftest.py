"""What every test may rely on."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so it is below `nohup`, in a background job and in workers of xdist, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
