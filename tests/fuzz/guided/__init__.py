"""Coverage-guided fuzzing of the readers in Python, with kept corpora."""
