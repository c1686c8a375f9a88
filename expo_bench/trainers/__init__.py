"""Training on TRL: recipes, trainers, what they record, and how they go on after a stop."""
