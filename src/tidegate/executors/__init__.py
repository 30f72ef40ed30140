"""What carries staged runs out."""
