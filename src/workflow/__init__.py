"""What surrounds every stage and computes nothing: its files, its code, its errors, its MLflow run, its sweep."""
