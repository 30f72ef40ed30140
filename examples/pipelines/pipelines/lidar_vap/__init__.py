"""Hourly wind at hub height, from the lidar's profiles."""
