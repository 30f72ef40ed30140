"""What a branch costs a month."""
