"""Images: what there is, where it is read from, how it is kept, cut and fed."""
