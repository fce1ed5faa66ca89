"""The base of all folders: the error for users, files written whole, digests, names of the prepared dataset."""
