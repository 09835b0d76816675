"""`python -m srv` is the daemon, `zonekeeper serve`; with a command, such as `python -m srv status`, it is that command."""

import gc
import signal
import sys

gc.disable()  # nothing that is imported becomes garbage; looking for some took a tenth of the start
_HEEDS_INTERRUPTS = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _HEEDS_INTERRUPTS:  # amid an import one would leave a traceback; so it just ends the process
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from srv.cli import main  # noqa: E402 - see above

gc.enable()
if _HEEDS_INTERRUPTS:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_FOR_PEOPLE = {"-h", "--help", "--version"}


def arguments_of(given: list[str]) -> list[str]:
    """Return the command line that is meant: options alone are those of `serve`."""
    names_command = bool(given) and (given[0] in _FOR_PEOPLE or not given[0].startswith("-"))
    return given if names_command else ["serve", *given]


if __name__ == "__main__":
    sys.exit(main(arguments_of(sys.argv[1:])))
