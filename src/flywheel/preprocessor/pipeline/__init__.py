"""Preprocessing, step by step: survey, split, fit, write, on this machine or a cluster."""
