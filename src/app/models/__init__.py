"""Where the guide's scripts find the models."""
