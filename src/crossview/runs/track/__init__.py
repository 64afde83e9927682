"""Curves and scores of a run for TensorBoard and MLflow."""
