"""Smaller or faster forms of an exported model: how each is made, measured, judged, and which of them is served."""
