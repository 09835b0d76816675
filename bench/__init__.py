"""What the daemon costs, beside a bare echo server on the same machine in the same run. `python -m bench` prints it."""
