"""Flywheel: from data to a registered, served, monitored model, and back to data."""

__version__ = "0.1.0"
