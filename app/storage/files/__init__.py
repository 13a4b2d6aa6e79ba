"""Where the files of runs and imported data sets lie for good: in the home, or in a bucket."""
