"""The losses that compare a student with its teacher: one file each."""
