"""The sections of `captioner benchmark`: each times contestants in fresh processes, in turn, and tells figures."""
