"""The surroundings of every stage, which compute nothing: its files, code, errors, MLflow run and sweep."""
