"""What evaluate measures and shows: metrics with intervals, baselines, pictures, and the page that holds them."""
