"""Teaching methods other than one frozen teacher: one file each."""
