"""The labs' claims put to the test at full scale: run through the service, kept as archives, and written as a page."""
