"""A page that runs the detectors in a browser."""
