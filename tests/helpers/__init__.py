"""Helpers of tests: made data, small runs, stand-ins and golden numbers."""
