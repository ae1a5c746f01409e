"""Random load with a model beside it, through the engine's own interface and through a mount alike."""
