"""The whole node as processes, with real peers on the other side."""
