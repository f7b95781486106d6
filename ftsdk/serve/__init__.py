"""OpenAI's API over the jobs and models of every backend, on this machine."""
