"""What each verb of the command does; :mod:`crossview.cli` puts them together. Nothing heavy is imported until a verb runs."""
