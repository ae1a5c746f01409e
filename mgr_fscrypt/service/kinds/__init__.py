"""The kinds of jobs that the service knows, a file each; what one is, is told by `service.jobs.interface`."""
