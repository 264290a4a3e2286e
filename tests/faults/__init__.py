"""Crashes and losses of power, replayed from a recording of what a process did to its files."""
