"""GLUE: the facts of its nine tasks, their rows, and the files of its leaderboard."""
