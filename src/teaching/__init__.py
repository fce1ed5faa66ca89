"""Other ways to be taught than by one frozen teacher: one file each."""
