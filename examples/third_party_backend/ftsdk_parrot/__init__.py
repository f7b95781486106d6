"""An example of a backend in its own package: a made-up service called parrot."""
