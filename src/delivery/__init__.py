"""What a file for a device is made of and checked by: its form, its measurements, the facts on its card."""
