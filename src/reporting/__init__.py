"""Pictures, tables and pages for people. No computation depends on them."""
