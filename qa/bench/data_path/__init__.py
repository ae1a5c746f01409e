"""What `qa/run bench engine` measures: the same work done by each of five ways to one file system."""
