"""Laws of return: for runs that have no dev loss, as those of reinforcement learning."""
