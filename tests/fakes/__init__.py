"""The other sides, on loopback: servers that behave as their manuals say, well or badly on demand."""
