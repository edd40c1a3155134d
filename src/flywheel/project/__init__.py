"""The base of all other packages: settings, composition, stages, whole files, tracking. It imports none of them."""
