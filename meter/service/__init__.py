"""The composition: set-up, running, administration, recovery and backup."""
