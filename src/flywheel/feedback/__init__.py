"""What users say about predictions: kept in a database, and made training rows of.

`store` keeps predictions and feedback, `pull` makes `data/feedback/<task>/` of them, which `preprocess` reads.
"""
