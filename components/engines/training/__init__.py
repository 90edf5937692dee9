"""The one training loop: tasks with turns, exact resume, the same figures on one process or many."""
