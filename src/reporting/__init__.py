"""All that is drawn or worded for people; nothing that is computed depends on it."""
