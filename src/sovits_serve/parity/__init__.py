"""Runs recorded upstream data (goldens) through our code and reports each comparison."""
