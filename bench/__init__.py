"""The figures of the daemon, each beside a yardstick measured in the same run. `python -m bench` prints them; see README.md."""
