"""What every folder stands on: the error for users, files written whole, digests, names of the prepared dataset."""
