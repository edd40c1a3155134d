"""Preprocessors: from rows to arrays, one modality a file, and the pipeline that makes a processed data set.

The very same object runs in training, in batch prediction and in the server.
"""
