"""Verbs of the command, which :mod:`crossview.cli` assembles.

Heavy modules are imported only when a verb runs.
"""
