"""What all rooms stand on: settings, composition, stages, whole files, tracking. It imports none of them."""
