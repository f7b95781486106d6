"""Files and folders that hold models, and how they are taken apart safely."""
