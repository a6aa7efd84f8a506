"""Everyone in an export: people and their series, files and pictures of each ear, shards, and the index of all."""
