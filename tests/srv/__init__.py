"""Tests of the process: started, called, stopped and killed as people do it."""
