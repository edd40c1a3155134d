"""Training on several devices or machines: who takes part, how ranks meet, and what they exchange."""
