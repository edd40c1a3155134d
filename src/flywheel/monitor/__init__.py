"""Watching a model in service: does the traffic still look like its training data, and are its answers still right?"""
