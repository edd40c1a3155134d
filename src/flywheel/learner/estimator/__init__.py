"""Estimators: they find a net's parameters directly, where others are trained by gradient."""
