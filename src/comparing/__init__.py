"""Two versions of the project side by side: what changed, what that can be believed to mean, and what else differs."""
