"""Data to measure on."""
